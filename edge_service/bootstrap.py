"""The composition root: the one place where the edge is put together. Nothing calls back into it."""

import secrets
import time
from pathlib import Path

import grpc

from atelier.pb.edge.v1 import edge_pb2
from edge_service.accounts.audit import Audit, Entry
from edge_service.accounts.tiers import DEVELOPERS, tiers
from edge_service.adapters.asset_urls import AssetUrls
from edge_service.adapters.database import Database, EmbeddedPostgres
from edge_service.adapters.http_client import GuardedHttpClient
from edge_service.adapters.notifications import Notifications
from edge_service.adapters.url_guard import UrlGuard
from edge_service.auth import Tokens, developer_token
from edge_service.auth.api_keys.key_format import MASTER_SECRET as KEYS_SECRET
from edge_service.auth.api_keys.store import ApiKeyStore
from edge_service.auth.api_keys.verifier import ApiKeyVerifier
from edge_service.auth.authenticator import Authenticator
from edge_service.auth.issuer import Issuer
from edge_service.auth.jwks import FILE_SECONDS, ISSUER_SECONDS, KeySet, from_file
from edge_service.auth.jwt import JwtTokens, Rules
from edge_service.auth.rpc_scopes import tier_names
from edge_service.config import EdgeConfig
from edge_service.domain.principal import Principal
from edge_service.doors.grpc import (
    AccountServicer,
    AssetServicer,
    CatalogServicer,
    ChatServicer,
    FleetServicer,
    JobServicer,
    register,
)
from edge_service.doors.http.server import HttpServer, application
from edge_service.doors.http.uploads import upload_routes
from edge_service.fleet import Fleet
from edge_service.fleet.channel import Credentials
from edge_service.fleet.chat_client import ChatWorkers
from edge_service.moderation.moderator import Moderation
from edge_service.planning.enhancement import Enhancer
from edge_service.planning.enhancement_templates import enhancement
from edge_service.planning.planner import Planner
from edge_service.policies.reloading import Policies
from edge_service.policy.snapshot import holding
from edge_service.queue.dispatcher import Dispatcher
from edge_service.queue.estimates.cost_model import CostModel
from edge_service.queue.estimates.queue_forecast import QueueForecast
from edge_service.queue.execution import Execution
from edge_service.queue.leases import Leases
from edge_service.queue.retention import Keep, Retention
from edge_service.queue.schema.migrate import migrate
from edge_service.queue.store import Store
from edge_service.queue.watch.hub import WatchHub
from edge_service.queue.webhooks.delivery import Webhooks
from edge_service.queue.webhooks.payload import MASTER_SECRET as WEBHOOKS_SECRET
from edge_service.references.resolve import References
from edge_service.references.uploads import Uploads
from edge_service.use_cases.account import Account
from edge_service.use_cases.admission import Admission
from edge_service.use_cases.api_keys import ManageApiKeys
from edge_service.use_cases.assets import Assets
from edge_service.use_cases.catalog import Catalog
from edge_service.use_cases.chat_turn import ChatTurn
from edge_service.use_cases.jobs import Jobs
from edge_service.use_cases.links import Links
from edge_service.use_cases.retry_job import RetryJob
from edge_service.use_cases.submit_job import SubmitJob
from edge_service.use_cases.uploads import UploadImages
from edge_service.use_cases.workers import Workers
from shared.assets import AssetStore
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
        self._files = AssetStore(config.assets)
        self._http = HttpServer(config.http_listen)
        self._urls = AssetUrls(config.public_base or f"http://{self._http.address}", self._files)
        self._drain_until = 0.0
        self._build_adapters()
        self._build_auth(tokens or _developer(config))
        self._build_queue()
        self._build_use_cases()

    def _build_adapters(self) -> None:
        config = self._config
        self._embedded = None if config.database_url else EmbeddedPostgres(config.data / "postgres")
        self._database = Database()
        self._notifications = Notifications()
        self._url_guard = UrlGuard(config.allowed_networks)
        self._http_client = GuardedHttpClient(self._url_guard)
        self._audit = Audit(self._database)

    def _build_auth(self, tokens: Tokens) -> None:
        keys = ApiKeyStore(self._database, self._notifications)
        verifier = ApiKeyVerifier(keys, self._notifications)
        self._authenticator = Authenticator(tokens, verifier, _jwt_tokens(self._config))
        self._api_keys = ManageApiKeys(keys, self._audit)
        self.guard = holding(self._authenticator.guard)

    def _build_queue(self) -> None:
        config, database, notifications = self._config, self._database, self._notifications
        self._costs = CostModel(database)
        credentials = Credentials(config.worker_secret, config.worker_certificates, config.worker_tls_name)
        self._fleet = Fleet(config.worker_addresses, self._costs.speed, credentials=credentials)
        self._store, self._leases = Store(database, notifications), Leases(database, notifications)
        self._execution = Execution(self._leases, self._files, self._costs)
        self._dispatcher = Dispatcher(self._leases, self._execution, self._fleet, notifications, self._costs)
        self._forecast = QueueForecast(database, self._fleet.slots, lambda: tiers().ageing_seconds)
        self._watches = WatchHub(database, notifications, self._forecast, self._whole_job)
        self._webhooks = Webhooks(database, notifications, self._http_client, self._urls)
        keep = Keep(config.keep_assets_days, config.keep_jobs_days, config.keep_events_hours)
        self._retention = Retention(self._files, keep)

    def _build_use_cases(self) -> None:
        self._uploads = Uploads(self._database, self._files)
        references = References(self._uploads, self._http_client, self._url_guard)
        chat = ChatWorkers(self._fleet, enhancement)
        self._moderation = Moderation(self._audit, chat)
        enhancer = Enhancer(self._fleet, chat)
        self._planner = Planner(self._fleet, self._moderation, references, enhancer, self._url_guard.check)
        self._links = Links(self._urls)
        self._admission = Admission(self._store, self._costs, self._links)
        self._assets = Assets(self._store, self._files, self._links)
        self._upload_images = UploadImages(self._uploads, self._urls, self._assets, self._admission)

    def register(self, server: grpc.aio.Server) -> None:
        store, planner, admission = self._store, self._planner, self._admission
        jobs = Jobs(store, self._watches, self._links, self._forecast)
        turn = ChatTurn(store, planner, admission, self._leases, self._execution, self._fleet)
        register(
            server,
            JobServicer(SubmitJob(planner, admission), RetryJob(store, planner, admission), jobs),
            ChatServicer(turn),
            AssetServicer(self._assets, self._upload_images),
            CatalogServicer(Catalog(self._fleet)),
            AccountServicer(Account(store), self._api_keys),
            FleetServicer(Workers(self._fleet)),
        )

    async def load(self) -> None:
        """Opens the database, then follows workers, serves assets and dispatches."""
        url = await self._embedded.start() if self._embedded else self._config.database_url
        await migrate(url)
        await self._database.open(url)
        self._policies.start(self._took_policies)
        self._urls.secret = await self._secret("asset_urls")
        self._moderation.secret = await self._secret("audit")
        self._notifications.start(url)
        keys_secret = await self._secret(KEYS_SECRET)
        self._api_keys.start(keys_secret)
        self._authenticator.start(keys_secret)
        await self._costs.load()
        self._watches.start()
        self._fleet.start()
        self._dispatcher.start()
        self._webhooks.start(await self._secret(WEBHOOKS_SECRET))
        self._retention.start(url)
        routes = upload_routes(self._urls, self._files.bucket, self._upload_images)
        self._http.start(application(self._urls, self._files, *routes))
        write_address(self._config.http_address_file, self._http.address)

    def drain(self) -> None:
        """Ends the watches; clients watch on at another replica, from the last sequence they saw. Leases no more."""
        self._watches.drain()
        self._dispatcher.drain()
        self._drain_until = time.monotonic() + self._config.drain_seconds

    async def close(self) -> None:
        await self._dispatcher.close(max(self._drain_until - time.monotonic(), 0))
        await self._retention.close()
        await self._webhooks.close()
        await self._http_client.close()
        await self._http.close()
        self._uploads.close()
        await self._fleet.close()
        await self._watches.close()
        await self._authenticator.close()
        await self._notifications.close()
        await self._database.close()
        if self._embedded:
            await self._embedded.stop()
        await self._policies.close()

    async def _secret(self, name: str) -> bytes:
        return await self._store.secret(name, fresh=secrets.token_bytes(32))

    async def _took_policies(self, version: str) -> None:
        await self._audit.record(Entry("", "policy.in_force", version))

    async def _whole_job(self, owner: str, job_id: str) -> edge_pb2.Job:
        return await self._links.job(await self._store.job(owner, job_id))


def _developer(config: EdgeConfig) -> Tokens:
    return Tokens({config.token.get_secret_value() or developer_token(config.data): DEVELOPER})


def _jwt_tokens(config: EdgeConfig) -> JwtTokens | None:
    """The tokens of the configured issuer; None without one."""
    if not config.jwt_issuer:
        return None
    if config.jwt_jwks and "://" not in config.jwt_jwks:
        keys = KeySet(from_file(Path(config.jwt_jwks)), FILE_SECONDS)
    else:
        keys = KeySet(Issuer(config.jwt_issuer, config.jwt_jwks).read, ISSUER_SECONDS)
    rules = Rules(
        config.jwt_issuer, config.jwt_audience, tier_names, config.jwt_tier_claim, config.jwt_default_tier,
        config.jwt_skew_seconds,
    )  # fmt: skip
    return JwtTokens(rules, keys)
