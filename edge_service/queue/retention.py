"""What is kept for how long. Every replica has this loop; the one that holds the lock does the round.

All SQL of a round runs on the connection that holds the lock: a replica that dies or freezes loses both together. Files
go before the rows that name them, so that whatever was cut short is found again by the next round.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import dict_row

from atelier.contracts.errors import StorageUnavailable
from edge_service.adapters.database import Connection, Lock
from shared.assets import AssetStore, attempt_folder
from shared.telemetry import LAST_ROUND, REMOVED

log = logging.getLogger(__name__)

# A replica that freezes in the middle of a round loses its connection after so long, and the lock with it.
FROZEN_AFTER = "60s"
ROUND_SECONDS = 60.0
# Most rows that one statement changes, and the rest between two: others want the database too.
BATCH = 500
PAUSE_SECONDS = 0.02
FILES_AT_ONCE = 16

Row = dict[str, Any]

# Rows that need no more than one statement, repeated until it finds less than a batch.
# A reference counts from when a job last named it, at the shortest for a day: longer than any job may take.
MARK_ASSETS = """
UPDATE assets SET deleted = now() WHERE key IN (
    SELECT key FROM assets
    WHERE deleted IS NULL AND greatest(created, used) < now() - %(asset_days)s * interval '1 day'
    LIMIT %(batch)s FOR UPDATE SKIP LOCKED)"""
FORGET_KEYS = """
DELETE FROM idempotency WHERE (owner, key) IN (
    SELECT owner, key FROM idempotency WHERE created < now() - interval '24 hours'
    LIMIT %(batch)s FOR UPDATE SKIP LOCKED)"""
FORGET_SHARES = "SELECT forget_shares(%(batch)s)"
FORGET_COSTS = """
DELETE FROM costs WHERE (kind, worker_id) IN (
    SELECT kind, worker_id FROM costs WHERE updated < now() - interval '90 days'
    LIMIT %(batch)s FOR UPDATE SKIP LOCKED)"""

# Rows with files, oldest first. An upload that is under way is deleted in the future, for the case that it never ends.
DELETED_ASSETS = "SELECT key AS id FROM assets WHERE deleted <= now() ORDER BY deleted LIMIT %(batch)s"
FORGET_ASSETS = "DELETE FROM assets WHERE key = ANY(%(ids)s) AND deleted <= now()"

UNTIDY_JOBS = """
SELECT id, owner, status, attempt FROM jobs
WHERE NOT tidy AND ended < now() - %(event_hours)s * interval '1 hour'
ORDER BY ended LIMIT %(batch)s"""
PRUNE_EVENTS = """
DELETE FROM events WHERE (job_id, sequence) IN (
    SELECT job_id, sequence FROM events JOIN jobs ON id = job_id
    WHERE id = ANY(%(ids)s) AND sequence < last_sequence LIMIT %(batch)s)"""
MARK_TIDY = "UPDATE jobs SET tidy = true WHERE id = ANY(%(ids)s) AND NOT tidy"

# The row of a job goes last of all that belongs to it; only its ledger stays.
OLD_JOBS = """
SELECT id, owner, status, attempt FROM jobs
WHERE tidy AND ended < now() - %(job_days)s * interval '1 day'
AND NOT EXISTS (SELECT FROM outbox WHERE job_id = jobs.id AND state = 'pending')
AND NOT EXISTS (SELECT FROM assets WHERE job_id = jobs.id)
ORDER BY ended LIMIT %(batch)s"""
FORGET_JOBS = "DELETE FROM jobs WHERE id = ANY(%(ids)s) AND ended IS NOT NULL"


@dataclass(frozen=True)
class Chore:
    """Finds rows, removes the files of each, then applies the statements to those whose files are gone.

    `remove` returns how many stray files it met. Statements are named by the kind of row they remove, "" for none.
    """

    find: str
    remove: Callable[[Row], Awaitable[int]]
    statements: dict[str, str]


class Keep(NamedTuple):
    """How long what is kept, from the end of a job on, or the last use of an asset."""

    assets_days: float
    jobs_days: float
    events_hours: float


class Retention:
    """Removes what is older than the configuration says, and what those who died left behind."""

    def __init__(self, assets: AssetStore, keep: Keep) -> None:
        self._assets = assets
        self._ages = {
            "asset_days": keep.assets_days,
            "job_days": keep.jobs_days,
            "event_hours": min(keep.events_hours, 24 * keep.jobs_days),
        }
        self._chores = (
            Chore(DELETED_ASSETS, self._delete, {"asset": FORGET_ASSETS}),
            Chore(UNTIDY_JOBS, self._discard_strays, {"event": PRUNE_EVENTS, "": MARK_TIDY}),
            Chore(OLD_JOBS, self._discard_all, {"job": FORGET_JOBS}),
        )
        self._task: asyncio.Task[None] | None = None

    def start(self, url: str) -> None:
        """Begins the rounds on the database at `url`."""
        self._task = asyncio.create_task(self._run(url))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def round(self, url: str) -> bool:
        """Does all there is to do; False if another replica is at it. Raises psycopg.Error."""
        async with _alone(url) as connection:
            if connection is None:
                return False
            await self._repeat(connection, MARK_ASSETS, "")
            for chore in self._chores:
                await self._do(connection, chore)
            await self._repeat(connection, FORGET_KEYS, "idempotency_key")
            await self._repeat(connection, FORGET_SHARES, "share")
            await self._repeat(connection, FORGET_COSTS, "cost")
        LAST_ROUND.set_to_current_time()
        return True

    async def _run(self, url: str) -> None:
        while True:
            try:
                await self.round(url)
            except (psycopg.Error, OSError):
                log.warning("housekeeping lost the database; trying again")
            except Exception:
                log.exception("a round of housekeeping failed")
            await asyncio.sleep(ROUND_SECONDS)

    async def _do(self, connection: Connection, chore: Chore) -> None:
        while rows := await (await connection.execute(chore.find, self._values())).fetchall():
            if not (gone := await self._remove(connection, chore, rows)):
                log.warning("the asset store is away; files are removed when it is back", extra={"rows": len(rows)})
                return
            for kind, statement in chore.statements.items():
                await self._repeat(connection, statement, kind, ids=gone)

    async def _remove(self, connection: Connection, chore: Chore, rows: list[Row]) -> list[str]:
        """Removes the files of rows; returns the ids of those whose files are gone."""
        turn = asyncio.Semaphore(FILES_AT_ONCE)

        async def remove(row: Row) -> str | None:
            async with turn:
                try:
                    REMOVED.labels("stray_file").inc(await chore.remove(row))
                except StorageUnavailable:
                    return None
                finally:  # slow is not frozen: a batch that takes long must not cost the lock, and so all that it did
                    await connection.execute("SELECT")
            return str(row["id"])

        return [gone for gone in await asyncio.gather(*map(remove, rows)) if gone]

    async def _repeat(self, connection: Connection, statement: str, kind: str, **values: Any) -> None:
        """Executes a statement until it finds less than a batch."""
        changed = BATCH
        while changed == BATCH:
            changed = (await connection.execute(statement, self._values(**values))).rowcount
            if kind:
                REMOVED.labels(kind).inc(changed)
            await asyncio.sleep(PAUSE_SECONDS)

    def _values(self, **values: Any) -> Row:
        return {**self._ages, "batch": BATCH, **values}

    async def _delete(self, asset: Row) -> int:
        await self._assets.delete(asset["id"])
        return 0

    async def _discard_strays(self, job: Row) -> int:
        """Removes the files of attempts that did not complete the job: their worker died before it could."""
        kept = job["attempt"] if job["status"] == "completed" else None
        return await self._discard(job, kept)

    async def _discard_all(self, job: Row) -> int:
        return await self._discard(job, None)

    async def _discard(self, job: Row, kept: int | None) -> int:
        attempts = (number for number in range(1, job["attempt"] + 1) if number != kept)
        return sum([await self._assets.discard(attempt_folder(job["owner"], job["id"], n)) for n in attempts])


@contextlib.asynccontextmanager
async def _alone(url: str) -> AsyncIterator[Connection | None]:
    """A connection that holds the lock of housekeeping until it is closed; None if another one does."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=dict_row) as connection:
        await connection.execute(f"SET idle_session_timeout = '{FROZEN_AFTER}'".encode())
        cursor = await connection.execute("SELECT pg_try_advisory_lock(%s) AS held", [Lock.HOUSEKEEPING])
        row = await cursor.fetchone()
        yield connection if row and row["held"] else None
