"""Leases: the right to execute a job, fenced by the number of the attempt.

A worker's result is written only under the attempt it belongs to and while that attempt runs: a late answer of a worker
that was given up changes nothing and is told so.
"""

from collections.abc import Sequence

from edge_service.jobs import records
from edge_service.jobs.database import Database
from edge_service.jobs.records import AssetRow, Callback, Lease
from edge_service.jobs.statements import CHANGED, NEW, RUNNING, append, close, end_attempt, fetch_all
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.job.v1 import job_pb2

LEASE = "interval '10 seconds'"


class Leases:
    """Every read and write on behalf of the dispatcher."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lease_next(self, worker_type: str) -> Lease | None:
        """Leases the oldest queued job for a worker type; None if there is none."""
        return await self._lease(
            "SELECT id FROM jobs WHERE worker_type = %s AND status = 'queued' AND NOT interactive"
            " AND not_before <= now() AND deadline > now() ORDER BY created, id LIMIT 1 FOR UPDATE SKIP LOCKED",
            worker_type,
        )

    async def lease_one(self, job_id: str) -> Lease | None:
        """Leases one queued job, whatever its place; None if it is not queued any more."""
        return await self._lease("SELECT id FROM jobs WHERE id = %s AND status = 'queued' FOR UPDATE", job_id)

    async def _lease(self, select: str, value: str) -> Lease | None:
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                f"UPDATE jobs SET status = 'leased', attempt = attempt + 1, lease_expires = now() + {LEASE}"
                f" WHERE id = ({select}) RETURNING *",
                [value],
            )
            row = await cursor.fetchone()
        return records.lease(row) if row else None

    async def start(self, lease: Lease, worker_id: str) -> bool:
        """Marks a leased job as handed to a worker. False if the lease is lost."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(
                "UPDATE jobs SET status = 'processing', started = coalesce(started, now())"
                " WHERE id = %s AND attempt = %s AND status = 'leased'",
                [lease.job_id, lease.attempt],
            )
            if not cursor.rowcount:
                return False
            await connection.execute(
                "INSERT INTO attempts (job_id, number, worker_id) VALUES (%s, %s, %s)",
                [lease.job_id, lease.attempt, worker_id],
            )
            await append(connection, lease.job_id, edge_pb2.JobEvent(status=job_pb2.JOB_STATUS_PROCESSING))
        return True

    async def record(self, lease: Lease, event: edge_pb2.JobEvent) -> bool:
        """Appends an event of a running job. False if the lease is lost."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "WITH job AS (UPDATE jobs SET last_sequence = last_sequence + 1"
                " WHERE id = %s AND attempt = %s AND status = 'processing' RETURNING id, last_sequence),"
                " event AS (INSERT INTO events (job_id, sequence, event)"
                " SELECT id, last_sequence, %s FROM job RETURNING job_id)"
                " SELECT pg_notify(%s, job_id) FROM event",
                [lease.job_id, lease.attempt, event.SerializeToString(), CHANGED],
            )
            return await cursor.fetchone() is not None

    async def complete(self, lease: Lease, callback: Callback, assets: Sequence[AssetRow]) -> bool:
        """Ends a job as completed, with its assets, in one transaction. False if the lease is lost."""
        return await self._end(lease, "completed", None, callback, assets)

    async def fail(self, lease: Lease, status: str, error: job_pb2.JobError) -> bool:
        """Ends a job as failed, cancelled or expired. False if the lease is lost."""
        return await self._end(lease, status, error)

    async def _end(
        self, lease: Lease, status: str, error: job_pb2.JobError | None, callback: Callback | None = None,
        assets: Sequence[AssetRow] = (),
    ) -> bool:  # fmt: skip
        async with self._database.transaction() as connection:
            cursor = await connection.execute(
                f"UPDATE jobs SET status = %s, ended = now(), lease_expires = NULL, callback = %s, error = %s"
                f" WHERE id = %s AND attempt = %s AND status IN {RUNNING} RETURNING id, attempt, worker_type, owner",
                [status, callback and callback.SerializeToString(), error and error.SerializeToString(), lease.job_id,
                 lease.attempt],
            )  # fmt: skip
            row = await cursor.fetchone()
            if row is None:
                return await self._ended_so(lease, status)
            for asset in assets:
                await connection.execute(
                    "INSERT INTO assets (key, job_id, owner, type, mime_type, bytes, sha256)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                    [asset.key, lease.job_id, lease.owner, asset.type, asset.mime_type, asset.bytes, asset.sha256],
                )
            await close(connection, row, status, error)
        return True

    async def _ended_so(self, lease: Lease, status: str) -> bool:
        """Whether this very attempt has ended the job already: its commit was done, and the answer to it lost."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT 1 FROM jobs WHERE id = %s AND attempt = %s AND status = %s",
                [lease.job_id, lease.attempt, status],
            )
            return await cursor.fetchone() is not None

    async def requeue(self, lease: Lease, error: job_pb2.JobError, delay_seconds: float, counts: bool) -> bool:
        """Gives a job back to the queue after a transient failure. False if the lease is lost.

        `counts` says whether the attempt is one of those that a job has.
        """
        async with self._database.transaction() as connection:
            cursor = await connection.execute(
                "UPDATE jobs SET status = 'queued', lease_expires = NULL, not_before = now() + %s * interval '1 second'"
                f" WHERE id = %s AND attempt = %s AND status IN {RUNNING}",
                [delay_seconds, lease.job_id, lease.attempt],
            )
            if not cursor.rowcount:
                return False
            if counts:
                await end_attempt(connection, lease.job_id, lease.attempt, error)
            else:
                await connection.execute(
                    "DELETE FROM attempts WHERE job_id = %s AND number = %s", [lease.job_id, lease.attempt]
                )
            await append(connection, lease.job_id, edge_pb2.JobEvent(status=job_pb2.JOB_STATUS_QUEUED))
            await connection.execute("SELECT pg_notify(%s, %s)", [NEW, lease.worker_type])
        return True

    async def renew(self, leases: Sequence[Lease]) -> set[tuple[str, int]]:
        """Extends leases and returns job id and attempt of those that are still held."""
        async with self._database.connection() as connection:
            rows = await fetch_all(
                connection,
                f"UPDATE jobs SET lease_expires = now() + {LEASE}"
                " FROM unnest(%s::text[], %s::int[]) AS held(id, attempt)"
                f" WHERE jobs.id = held.id AND jobs.attempt = held.attempt AND status IN {RUNNING}"
                " RETURNING jobs.id, jobs.attempt",
                [[lease.job_id for lease in leases], [lease.attempt for lease in leases]],
            )
        return {(row["id"], row["attempt"]) for row in rows}

    async def attempts_made(self, lease: Lease) -> int:
        """How many attempts of a job counted, the running one included."""
        async with self._database.connection() as connection:
            cursor = await connection.execute("SELECT count(*) FROM attempts WHERE job_id = %s", [lease.job_id])
            row = await cursor.fetchone()
        assert row is not None
        return int(row["count"])

    async def overdue(self) -> list[Lease]:
        """Takes over the running jobs whose lease has expired: their edge replica is gone. The caller ends or requeues
        each."""
        async with self._database.connection() as connection:
            rows = await fetch_all(
                connection,
                f"UPDATE jobs SET lease_expires = now() + {LEASE} WHERE id IN (SELECT id FROM jobs"
                f" WHERE status IN {RUNNING} AND lease_expires < now() FOR UPDATE SKIP LOCKED) RETURNING *",
                [],
            )
        return [records.lease(row) for row in rows]

    async def forget_keys(self) -> None:
        """Removes idempotency keys after 24 hours."""
        async with self._database.connection() as connection:
            await connection.execute("DELETE FROM idempotency WHERE created < now() - interval '24 hours'")

    async def expire(self) -> int:
        """Ends the queued jobs whose deadline has passed, and the interactive ones whose caller left before they began;
        returns how many."""
        error = job_pb2.JobError(
            reason=job_pb2.ERROR_REASON_DEADLINE_EXCEEDED, message="its deadline passed before a worker was free"
        )
        async with self._database.transaction() as connection:
            rows = await fetch_all(
                connection,
                "UPDATE jobs SET status = 'expired', ended = now(), error = %s WHERE id IN (SELECT id FROM jobs"
                " WHERE status = 'queued'"
                " AND (deadline <= now() OR interactive AND created < now() - interval '30 seconds')"
                " FOR UPDATE SKIP LOCKED)"
                " RETURNING id, attempt, worker_type, owner",
                [error.SerializeToString()],
            )
            for row in rows:
                await close(connection, row, "expired", error)
        return len(rows)
