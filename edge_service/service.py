"""The one place where the edge is put together."""

import secrets

import grpc

from edge_service.asset_urls import AssetUrls
from edge_service.auth import Tokens, developer_token
from edge_service.config import EdgeConfig
from edge_service.fleet import Fleet
from edge_service.http import HttpServer, application
from edge_service.intake.job_types import job_types
from edge_service.jobs.database import Database, EmbeddedPostgres
from edge_service.jobs.dispatcher import Dispatcher
from edge_service.jobs.execution import Execution
from edge_service.jobs.leases import Leases
from edge_service.jobs.store import Store
from edge_service.jobs.wakeups import Wakeups
from edge_service.servicers import (
    AccountServicer,
    AssetServicer,
    CatalogServicer,
    ChatServicer,
    FleetServicer,
    JobServicer,
    Links,
    register,
)
from shared.assets import AssetStore
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.server import write_address

DEVELOPER = "developer"


class Edge:
    """The edge as `shared.server` runs it."""

    names = tuple(service.full_name for service in edge_pb2.DESCRIPTOR.services_by_name.values())

    def __init__(self, config: EdgeConfig, tokens: Tokens | None = None) -> None:
        """Opens the HTTP port and the asset store; everything slower happens in `load`.

        Without `tokens` one is accepted: the developer's.
        """
        self._config = config
        self.guard = (tokens or Tokens({config.token or developer_token(config.data): DEVELOPER})).guard
        self._assets = AssetStore(config.assets)
        self._http = HttpServer(config.http_listen)
        self._urls = AssetUrls(config.public_base or f"http://{self._http.address}", self._assets)
        self._embedded = None if config.database_url else EmbeddedPostgres(config.data / "postgres")
        self._database = Database()
        self._wakeups = Wakeups()
        self._fleet = Fleet(config.worker_addresses)
        self._store, self._leases = Store(self._database), Leases(self._database)
        self._execution = Execution(self._leases, self._assets)
        self._dispatcher = Dispatcher(self._leases, self._execution, self._fleet, self._wakeups)
        self._jobs = JobServicer(self._store, self._fleet, self._wakeups, Links(self._urls))

    def register(self, server: grpc.aio.Server) -> None:
        links = Links(self._urls)
        register(
            server,
            self._jobs,
            ChatServicer(self._store, self._leases, self._execution, self._fleet),
            AssetServicer(self._store, self._assets, links),
            CatalogServicer(self._fleet),
            AccountServicer(),
            FleetServicer(self._fleet),
        )

    async def load(self) -> None:
        """Opens the database, then follows workers, serves assets and dispatches."""
        job_types()
        url = await self._embedded.start() if self._embedded else self._config.database_url
        await self._database.open(url)
        self._urls.secret = await self._store.secret("asset_urls", fresh=secrets.token_bytes(32))
        self._wakeups.start(url)
        self._fleet.start()
        self._dispatcher.start()
        self._http.start(application(self._urls, self._assets))
        write_address(self._config.http_address_file, self._http.address)

    def drain(self) -> None:
        """Ends the watches; clients watch on at another replica, from the last sequence they saw."""
        self._jobs.draining.set()

    async def close(self) -> None:
        await self._dispatcher.close()
        await self._http.close()
        await self._fleet.close()
        await self._wakeups.close()
        await self._database.close()
        if self._embedded:
            await self._embedded.stop()
