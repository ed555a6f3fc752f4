"""The services that clients call, one file each. Each RPC: who calls, call the room that knows, return. Errors are
translated by the interceptor, which has authorised the caller and checked the message before."""

import grpc

from edge_service.doors.grpc.account import AccountServicer
from edge_service.doors.grpc.assets import AssetServicer
from edge_service.doors.grpc.catalog import CatalogServicer
from edge_service.doors.grpc.chat import ChatServicer
from edge_service.doors.grpc.fleet import FleetServicer
from edge_service.doors.grpc.jobs import JobServicer
from edge_service.use_cases.links import Links
from shared.pb.atelier.edge.v1 import edge_pb2_grpc

__all__ = [
    "AccountServicer",
    "AssetServicer",
    "CatalogServicer",
    "ChatServicer",
    "FleetServicer",
    "JobServicer",
    "Links",
    "register",
]


def register(
    server: grpc.aio.Server,
    jobs: JobServicer,
    chat: ChatServicer,
    assets: AssetServicer,
    catalogue: CatalogServicer,
    account: AccountServicer,
    fleet: FleetServicer,
) -> None:
    """Adds the services to a server."""
    edge_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    edge_pb2_grpc.add_ChatServiceServicer_to_server(chat, server)
    edge_pb2_grpc.add_AssetServiceServicer_to_server(assets, server)
    edge_pb2_grpc.add_CatalogServiceServicer_to_server(catalogue, server)
    edge_pb2_grpc.add_AccountServiceServicer_to_server(account, server)
    edge_pb2_grpc.add_FleetServiceServicer_to_server(fleet, server)
