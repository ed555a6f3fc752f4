"""The gRPC services, one file each. An RPC takes the caller, calls one use case and returns.

Before it the interceptor has authenticated the caller and checked the message; after it errors become statuses.
"""

import grpc

from atelier.pb.edge.v1 import edge_pb2_grpc
from edge_service.doors.grpc.account import AccountServicer
from edge_service.doors.grpc.assets import AssetServicer
from edge_service.doors.grpc.catalog import CatalogServicer
from edge_service.doors.grpc.chat import ChatServicer
from edge_service.doors.grpc.fleet import FleetServicer
from edge_service.doors.grpc.jobs import JobServicer

__all__ = [
    "AccountServicer",
    "AssetServicer",
    "CatalogServicer",
    "ChatServicer",
    "FleetServicer",
    "JobServicer",
    "register",
]


def register(
    server: grpc.aio.Server,
    jobs: JobServicer,
    chat: ChatServicer,
    assets: AssetServicer,
    catalog: CatalogServicer,
    account: AccountServicer,
    fleet: FleetServicer,
) -> None:
    """Adds the services to a server."""
    edge_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    edge_pb2_grpc.add_ChatServiceServicer_to_server(chat, server)
    edge_pb2_grpc.add_AssetServiceServicer_to_server(assets, server)
    edge_pb2_grpc.add_CatalogServiceServicer_to_server(catalog, server)
    edge_pb2_grpc.add_AccountServiceServicer_to_server(account, server)
    edge_pb2_grpc.add_FleetServiceServicer_to_server(fleet, server)
