"""A real PostgreSQL for every test that needs one: one embedded server a run, one fresh database a test."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import grpc
import psycopg
import pytest

from atelier.contracts.json_form import from_spec_dict
from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from edge_service.adapters.database import Database, EmbeddedPostgres
from edge_service.auth import Principal, Tokens
from edge_service.bootstrap import Edge
from edge_service.config import EdgeConfig
from edge_service.queue.schema.migrate import migrate
from shared.server import Server
from tests.kit.job_tables import jobs
from tests.kit.worker_pair import pair

__all__ = ["jobs", "pair"]

numbers = itertools.count()


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a running PostgreSQL."""
    embedded = EmbeddedPostgres(Path(tmp_path_factory.mktemp("postgres")) / "data")
    url = await embedded.start()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # no test outlives its machine
            await connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        await connection.execute("SELECT pg_reload_conf()")
        await connection.execute("CREATE DATABASE migrated")
    await migrate(url.replace("/postgres?", "/migrated?"))
    yield url
    await embedded.stop()


async def new_database(postgres: str, template: str = "migrated") -> str:
    """The address of a new database, a copy of a template: migrated, and without a job."""
    name = f"test_{next(numbers)}"
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    return postgres.replace("/postgres?", f"/{name}?")


@pytest.fixture
async def database_url(postgres: str) -> str:
    """The address of a migrated database of the test's own."""
    return await new_database(postgres)


@pytest.fixture
async def empty_database_url(postgres: str) -> str:
    """The address of a database that nothing has migrated yet."""
    return await new_database(postgres, "template1")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open, migrated database."""
    opened = Database()
    await opened.open(database_url)
    yield opened
    await opened.close()


ANN, BOB, OPERATOR, GUEST = "token-of-ann", "token-of-bob", "token-of-the-operator", "token-of-a-guest"
TOKENS = {
    ANN: Principal("ann", "premium"),
    BOB: Principal("bob", "premium"),
    OPERATOR: Principal("operator", "admin"),
    GUEST: Principal("gus", "guest"),
}


class Calls:
    """The edge's stubs, each call with one caller's token."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self.metadata, self.operator = ((("authorization", f"Bearer {whose}"),) for whose in (token, OPERATOR))
        self.jobs = edge_pb2_grpc.JobServiceStub(channel)
        self.chat = edge_pb2_grpc.ChatServiceStub(channel)
        self.assets = edge_pb2_grpc.AssetServiceStub(channel)
        self.catalog = edge_pb2_grpc.CatalogServiceStub(channel)
        self.account = edge_pb2_grpc.AccountServiceStub(channel)
        self.fleet = edge_pb2_grpc.FleetServiceStub(channel)

    async def submit(self, **fields: object) -> edge_pb2.Job:
        """Submits a job given in the specification's JSON: `submit(sdxl={...})`."""
        request = from_spec_dict(edge_pb2.SubmitJobRequest, fields)
        return (await self.jobs.SubmitJob(request, metadata=self.metadata)).job

    async def get(self, job_id: str) -> edge_pb2.Job:
        return (await self.jobs.GetJob(edge_pb2.GetJobRequest(job_id=job_id), metadata=self.metadata)).job

    async def cancel(self, job_id: str) -> edge_pb2.Job:
        return (await self.jobs.CancelJob(edge_pb2.CancelJobRequest(job_id=job_id), metadata=self.metadata)).job

    async def watch(self, job_id: str, after: int = 0) -> AsyncIterator[edge_pb2.JobEvent]:
        request = edge_pb2.WatchJobRequest(job_id=job_id, after_sequence=after)
        async for message in self.jobs.WatchJob(request, metadata=self.metadata):
            if message.HasField("event"):
                yield message.event

    async def ended(self, job_id: str) -> edge_pb2.Job:
        """Watches a job to its end."""
        last = [event async for event in self.watch(job_id)][-1]
        return last.ended


StartEdge = Callable[..., Awaitable[Server]]


async def started_edge(url: str, folder: Path, workers: Sequence[str] = (), **options: object) -> Server:
    """A running edge on a database, with its files in a folder; `options` are those of its configuration."""
    config = EdgeConfig(
        listen="127.0.0.1:0", http_listen="127.0.0.1:0", data=folder / "data", database_url=url,
        assets=(folder / "user-library").as_uri(), workers=",".join(workers), drain_seconds=1,
        **options,
    )  # fmt: skip
    server = Server(Edge(config, Tokens(TOKENS)), config)
    await server.start()
    return server


@pytest.fixture
async def start_edge(database_url: str, tmp_path: Path) -> AsyncIterator[StartEdge]:
    """Starts edge replicas on the test's database: `server = await start_edge(workers=[address])`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(workers: Sequence[str] = (), **options: object) -> Server:
            server = await started_edge(database_url, tmp_path, workers, **options)
            stack.push_async_callback(server.stop)
            return server

        yield start


@pytest.fixture(scope="session")
async def channel(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to an edge without workers, shared by the tests that leave it as it is but for jobs in its queue."""
    server = await started_edge(await new_database(postgres), tmp_path_factory.mktemp("edge"))
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield opened
    await server.stop()


@pytest.fixture
def ann(channel: grpc.aio.Channel) -> Calls:
    return Calls(channel, ANN)


@pytest.fixture
def bob(channel: grpc.aio.Channel) -> Calls:
    return Calls(channel, BOB)
