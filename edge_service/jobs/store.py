"""What owners do with their jobs and assets. SQL lives in store.py, leases.py, statements.py and migrations/ alone.

A job goes queued -> leased -> processing -> completed | failed | cancelled | expired. Every statement that changes a
job names the states it may come from.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.errors import UniqueViolation

from edge_service.intake.job_ids import new_job_id
from edge_service.intake.plan import Plan
from edge_service.jobs import records
from edge_service.jobs.database import Connection, Database
from edge_service.jobs.statements import NEW, OPEN, STOPPED, append, close, fetch_all
from shared.errors import AssetNotFound, IdempotencyConflict, JobNotFound
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.job.v1 import job_pb2

# A job with its place in the queue of its worker type, which only a queued job has.
SELECT_JOB = """
SELECT jobs.*, CASE WHEN status = 'queued' THEN (
    SELECT count(*) FROM jobs AS ahead WHERE ahead.status = 'queued' AND NOT ahead.interactive
    AND ahead.worker_type = jobs.worker_type AND (ahead.created, ahead.id) <= (jobs.created, jobs.id)
) END AS queue_position FROM jobs"""


@dataclass(frozen=True)
class Submission:
    """What tells one SubmitJob from another: the caller's key, "" for none, and the SHA-256 of the request."""

    key: str
    digest: bytes


@dataclass(frozen=True)
class Watched:
    """New events of a job, and whether the last of them ends it."""

    events: list[edge_pb2.JobEvent]
    finished: bool


class Store:
    """Every read and write on behalf of an owner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, owner: str, plan: Plan, submission: Submission | None = None) -> str:
        """Stores a queued job and its first event, and returns its id. Without a submission the turn is interactive.

        A submission that was stored before returns its job. Raises IdempotencyConflict if its key stands for another.
        """
        while True:
            job_id = new_job_id(plan.worker_type, plan.type_name, time.time())
            try:
                async with self._database.transaction() as connection:
                    if submission and (earlier := await _earlier(connection, owner, submission, job_id)):
                        return earlier
                    await _insert(connection, job_id, owner, plan, interactive=submission is None)
                return job_id
            except UniqueViolation:
                continue  # the random suffix was taken within this second

    async def job(self, owner: str, job_id: str) -> edge_pb2.Job:
        """One job of this owner. Raises JobNotFound, also for somebody else's."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(f"{SELECT_JOB} WHERE id = %s AND owner = %s", [job_id, owner])
            row = await cursor.fetchone()
            if row is None:
                raise _not_found(job_id)
            return await self._record(connection, row)

    async def jobs(
        self, owner: str, statuses: Sequence[str], before: tuple[datetime, str] | None, limit: int
    ) -> list[edge_pb2.Job]:
        """The owner's jobs, newest first, those older than `before` (created, id)."""
        query = f"{SELECT_JOB} WHERE owner = %(owner)s"
        query += " AND status = ANY(%(statuses)s)" if statuses else ""
        query += " AND (created, id) < (%(created)s, %(id)s)" if before else ""
        created, last_id = before or (None, None)
        values = {"owner": owner, "statuses": list(statuses), "created": created, "id": last_id, "limit": limit}
        async with self._database.connection() as connection:
            rows = await fetch_all(connection, query + " ORDER BY created DESC, id DESC LIMIT %(limit)s", values)
            return [await self._record(connection, row) for row in rows]

    async def events(self, owner: str, job_id: str, after: int, limit: int = 500) -> Watched:
        """Events of the owner's job after a sequence number. Raises JobNotFound."""
        async with self._database.connection() as connection:
            # The state is read before the events: an event that ends the job cannot slip between the two.
            cursor = await connection.execute(
                "SELECT status, last_sequence FROM jobs WHERE id = %s AND owner = %s", [job_id, owner]
            )
            row = await cursor.fetchone()
            if row is None:
                raise _not_found(job_id)
            query = "SELECT * FROM events WHERE job_id = %s AND sequence > %s ORDER BY sequence LIMIT %s"
            events = [records.event(found) for found in await fetch_all(connection, query, [job_id, after, limit])]
        last = events[-1].sequence if events else after
        return Watched(events, row["status"] in records.TERMINAL and last >= row["last_sequence"])

    async def cancel(self, owner: str, job_id: str) -> edge_pb2.Job:
        """Ends an open job as cancelled; an ended one stays as it is. Raises JobNotFound."""
        error = job_pb2.JobError(reason=job_pb2.ERROR_REASON_CANCELLED, message="cancelled by its owner")
        async with self._database.transaction() as connection:
            cursor = await connection.execute(
                f"UPDATE jobs SET status = 'cancelled', ended = now(), lease_expires = NULL, error = %s"
                f" WHERE id = %s AND owner = %s AND status IN {OPEN} RETURNING id, attempt, worker_type, owner",
                [error.SerializeToString(), job_id, owner],
            )
            if (row := await cursor.fetchone()) is not None:
                await close(connection, row, "cancelled", error)
                await connection.execute("SELECT pg_notify(%s, %s)", [STOPPED, job_id])
        return await self.job(owner, job_id)

    async def asset(self, owner: str, key: str) -> edge_pb2.Asset:
        """One asset of this owner. Raises AssetNotFound, also for somebody else's."""
        async with self._database.connection() as connection:
            cursor = await connection.execute("SELECT * FROM assets WHERE key = %s AND owner = %s", [key, owner])
            row = await cursor.fetchone()
        if row is None:
            raise AssetNotFound("no asset with this key belongs to you")
        return records.asset(row)

    async def assets(self, owner: str, before: tuple[datetime, str] | None, limit: int) -> list[edge_pb2.Asset]:
        """The owner's assets, newest first, those older than `before` (created, key)."""
        query = "SELECT * FROM assets WHERE owner = %(owner)s"
        query += " AND (created, key) < (%(created)s, %(key)s)" if before else ""
        created, key = before or (None, None)
        values = {"owner": owner, "created": created, "key": key, "limit": limit}
        async with self._database.connection() as connection:
            rows = await fetch_all(connection, query + " ORDER BY created DESC, key DESC LIMIT %(limit)s", values)
        return [records.asset(row) for row in rows]

    async def secret(self, name: str, fresh: bytes) -> bytes:
        """The secret of this name that all replicas share; `fresh` becomes it if there is none."""
        async with self._database.connection() as connection:
            await connection.execute("INSERT INTO secrets VALUES (%s, %s) ON CONFLICT DO NOTHING", [name, fresh])
            cursor = await connection.execute("SELECT value FROM secrets WHERE name = %s", [name])
            row = await cursor.fetchone()
        assert row is not None
        return bytes(row["value"])

    async def _record(self, connection: Connection, row: records.Row) -> edge_pb2.Job:
        attempts: list[records.Row] = []
        if row["attempt"]:
            query = "SELECT * FROM attempts WHERE job_id = %s ORDER BY number"
            attempts = await fetch_all(connection, query, [row["id"]])
        return records.job(row, attempts)


async def _earlier(connection: Connection, owner: str, submission: Submission, job_id: str) -> str | None:
    """The job that this key already stands for; None if it stands for `job_id` from now on.

    Two that come together: the second waits here for the first one's commit.
    """
    if not submission.key:
        return None
    cursor = await connection.execute(
        "INSERT INTO idempotency AS kept (owner, key, request, job_id) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (owner, key) DO UPDATE SET key = kept.key RETURNING request, job_id",
        [owner, submission.key, submission.digest, job_id],
    )
    row = await cursor.fetchone()
    assert row is not None
    if row["request"] != submission.digest:
        raise IdempotencyConflict("idempotency_key: was used for another request within the last 24 hours")
    return None if row["job_id"] == job_id else str(row["job_id"])


async def _insert(connection: Connection, job_id: str, owner: str, plan: Plan, interactive: bool) -> None:
    decisions = edge_pb2.Job(decisions=plan.decisions).SerializeToString()
    if not isinstance(plan.job, chat_pb2.ChatRequest):
        plan.job.id, plan.job.user_id = job_id, owner
    await connection.execute(
        "INSERT INTO jobs (id, owner, type, worker_type, interactive, status, plan, decisions, deadline)"
        " VALUES (%s, %s, %s, %s, %s, 'queued', %s, %s, now() + %s * interval '1 second')",
        [job_id, owner, plan.type_name, plan.worker_type, interactive, plan.job.SerializeToString(), decisions,
         plan.deadline_seconds],
    )  # fmt: skip
    await append(connection, job_id, edge_pb2.JobEvent(status=job_pb2.JOB_STATUS_QUEUED))
    await connection.execute("SELECT pg_notify(%s, %s)", [NEW, plan.worker_type])


def _not_found(job_id: str) -> JobNotFound:
    return JobNotFound(f"no job {job_id} belongs to you")
