"""The one place where the edge is put together."""

import secrets
import time

import grpc

from edge_service.accounts.audit import Audit, Entry
from edge_service.accounts.tiers import DEVELOPERS, tiers
from edge_service.adapters.asset_urls import AssetUrls
from edge_service.adapters.database import Database, EmbeddedPostgres
from edge_service.adapters.http_client import GuardedHttpClient
from edge_service.adapters.notifications import Notifications
from edge_service.adapters.url_guard import UrlGuard
from edge_service.auth import Principal, Tokens, developer_token
from edge_service.auth.api_keys.key_format import HOUSE_SECRET as KEYS_SECRET
from edge_service.auth.authenticator import People
from edge_service.config import EdgeConfig
from edge_service.doors.grpc import (
    AccountServicer,
    AssetServicer,
    CatalogServicer,
    ChatServicer,
    FleetServicer,
    JobServicer,
    Links,
    register,
)
from edge_service.doors.http.server import HttpServer, application
from edge_service.doors.http.uploads import upload_routes
from edge_service.fleet import Fleet
from edge_service.fleet.channel import Credentials
from edge_service.planning.planner import Planner
from edge_service.policies.reloading import Policies
from edge_service.policy.snapshot import holding
from edge_service.queue.dispatcher import Dispatcher
from edge_service.queue.estimates.cost_model import CostModel
from edge_service.queue.estimates.queue_forecast import QueueForecast
from edge_service.queue.execution import Execution
from edge_service.queue.leases import Leases
from edge_service.queue.retention import Retention
from edge_service.queue.schema.migrate import migrate
from edge_service.queue.store import Store
from edge_service.queue.watch.hub import WatchHub
from edge_service.queue.webhooks.delivery import Webhooks
from edge_service.queue.webhooks.payload import HOUSE_SECRET
from edge_service.references.resolve import References
from edge_service.references.uploads import Uploads
from shared.assets import AssetStore
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.server import write_address

DEVELOPER = Principal("developer", DEVELOPERS)


class Edge:
    """The edge as `shared.server` runs it."""

    names = tuple(service.full_name for service in edge_pb2.DESCRIPTOR.services_by_name.values())

    def __init__(self, config: EdgeConfig, tokens: Tokens | None = None) -> None:
        """Opens the HTTP port and the asset store; everything slower happens in `load`.

        Without `tokens` one is accepted: the developer's. Raises SystemExit for policies that cannot be used.
        """
        self._config = config
        self._policies = Policies(config.policies)
        self._assets = AssetStore(config.assets)
        self._http = HttpServer(config.http_listen)
        self._urls = AssetUrls(config.public_base or f"http://{self._http.address}", self._assets)
        self._drain_until = 0.0
        self._embedded = None if config.database_url else EmbeddedPostgres(config.data / "postgres")
        self._database = Database()
        self._notifications = Notifications()
        self._costs = CostModel(self._database)
        self._people = People(config, self._database, self._notifications, tokens or _developer(config))
        self.guard = holding(self._people.guard)
        credentials = Credentials(config.worker_secret, config.worker_certificates, config.worker_tls_name)
        self._fleet = Fleet(config.worker_addresses, self._costs.speed, credentials=credentials)
        self._store, self._leases = (
            Store(self._database, self._notifications),
            Leases(self._database, self._notifications),
        )
        self._execution = Execution(self._leases, self._assets, self._costs)
        self._dispatcher = Dispatcher(self._leases, self._execution, self._fleet, self._notifications, self._costs)
        forecasts = QueueForecast(self._database, self._fleet.slots, lambda: tiers().ageing_seconds)
        self._links, addresses = Links(self._urls), UrlGuard(config.allowed_networks)
        self._feeds = WatchHub(self._database, self._notifications, forecasts, self._whole_job)
        self._outgoing = GuardedHttpClient(addresses)
        self._webhooks = Webhooks(self._database, self._notifications, self._outgoing, self._urls)
        self._housekeeping = Retention(self._assets, config)
        self._uploads = Uploads(self._database, self._assets)
        self._audit = Audit(self._database)
        references = References(self._uploads, self._outgoing, addresses)
        self._intake = Planner(self._fleet, addresses, references, self._audit)
        self._jobs = JobServicer(self._store, self._intake, self._feeds, self._links, self._costs, forecasts)

    def register(self, server: grpc.aio.Server) -> None:
        register(
            server,
            self._jobs,
            ChatServicer(self._store, self._intake, self._leases, self._execution, self._fleet, self._costs),
            AssetServicer(self._store, self._assets, self._links, self._uploads, self._urls),
            CatalogServicer(self._fleet),
            AccountServicer(self._store, self._people.orders, self._audit),
            FleetServicer(self._fleet),
        )

    async def load(self) -> None:
        """Opens the database, then follows workers, serves assets and dispatches."""
        url = await self._embedded.start() if self._embedded else self._config.database_url
        await migrate(url)
        await self._database.open(url)
        self._policies.start(self._took_policies)
        self._urls.secret = await self._store.secret("asset_urls", fresh=secrets.token_bytes(32))
        self._intake.secret = await self._store.secret("audit", fresh=secrets.token_bytes(32))
        self._notifications.start(url)
        self._people.start(await self._store.secret(KEYS_SECRET, fresh=secrets.token_bytes(32)))
        await self._costs.load()
        self._feeds.start()
        self._fleet.start()
        self._dispatcher.start()
        self._webhooks.start(await self._store.secret(HOUSE_SECRET, fresh=secrets.token_bytes(32)))
        self._housekeeping.start(url)
        routes = upload_routes(self._urls, self._assets.bucket, self._uploads)
        self._http.start(application(self._urls, self._assets, *routes))
        write_address(self._config.http_address_file, self._http.address)

    def drain(self) -> None:
        """Ends the watches; clients watch on at another replica, from the last sequence they saw. Leases no more."""
        self._feeds.drain()
        self._dispatcher.drain()
        self._drain_until = time.monotonic() + self._config.drain_seconds

    async def _took_policies(self, version: str) -> None:
        await self._audit.record(Entry("", "policy.in_force", version))

    async def _whole_job(self, owner: str, job_id: str) -> edge_pb2.Job:
        return await self._links.job(await self._store.job(owner, job_id))

    async def close(self) -> None:
        await self._dispatcher.close(max(self._drain_until - time.monotonic(), 0))
        await self._housekeeping.close()
        await self._webhooks.close()
        await self._outgoing.close()
        await self._http.close()
        self._uploads.close()
        await self._fleet.close()
        await self._feeds.close()
        await self._people.close()
        await self._notifications.close()
        await self._database.close()
        if self._embedded:
            await self._embedded.stop()
        await self._policies.close()


def _developer(config: EdgeConfig) -> Tokens:
    return Tokens({config.token.get_secret_value() or developer_token(config.data): DEVELOPER})
