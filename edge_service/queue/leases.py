"""Leases: the right to execute a job for a while. The number of the attempt is the fencing token.

A worker's result is written only under the attempt it belongs to and while that attempt runs: a late answer of a worker
that was given up changes nothing and is told so. The rules are functions of the database, schema/functions.
"""

from collections.abc import Sequence
from typing import NamedTuple

from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.adapters.database import Database, fetch_all, fetch_value
from edge_service.adapters.notifications import CALLBACKS, CHANGED, NEW, Notifications
from edge_service.domain.kinds import Callback
from edge_service.queue.rows import AssetRow, Lease, WorkerSlot, lease_of
from edge_service.queue.sql import STARTED, ended

LEASE = "interval '10 seconds'"
TOO_LATE = job_pb2.JobError(
    reason=job_pb2.ERROR_REASON_DEADLINE_EXCEEDED, message="its deadline passed before a worker was free"
)


class Unwritten(NamedTuple):
    """Events of a running job that are not in the tables yet, and the last sequence number that is."""

    after: int
    events: list[edge_pb2.JobEvent]


class Leases:
    """Every read and write on behalf of the dispatcher."""

    def __init__(self, database: Database, notifications: Notifications) -> None:
        self._database, self._notifications = database, notifications

    async def lease(self, worker: WorkerSlot, offers: Sequence[str], count: int, ageing_seconds: float) -> list[Lease]:
        """Leases up to `count` queued jobs for a worker, fewer if other replicas have filled its slots."""
        return await self._leased(
            f"SELECT * FROM lease_jobs(%s, %s, %s, %s, %s, %s, {LEASE}, %s, %s)",
            [worker.worker_type, worker.address, worker.worker_id, list(offers), count, worker.slots, ageing_seconds,
             worker.routing],
        )  # fmt: skip

    async def lease_one(self, job_id: str, worker: WorkerSlot) -> Lease | None:
        """Leases one interactive job; None if it is not queued any more, or the worker has no free slot."""
        query = f"SELECT * FROM lease_job(%s, %s, %s, %s, %s, {LEASE}, %s)"
        values = [job_id, worker.worker_type, worker.address, worker.worker_id, worker.slots, worker.routing]
        return next(iter(await self._leased(query, values)), None)

    async def take_over(self) -> list[Lease]:
        """Takes over one running job whose lease has expired: its edge replica is gone. The caller requeues it."""
        return await self._leased(f"SELECT * FROM take_over({LEASE})", [])

    async def _leased(self, query: str, values: Sequence[object]) -> list[Lease]:
        async with self._database.connection() as connection:
            return [lease_of(row) for row in await fetch_all(connection, query, values)]

    async def record(self, lease: Lease, after: int, events: Sequence[edge_pb2.JobEvent]) -> int | None:
        """Appends events of a running job after the last sequence number that its attempt knows, and returns the new
        one; the first events say that a worker has the job. None if the lease is lost."""
        values = [lease.job_id, lease.attempt, after, [event.SerializeToString() for event in events], STARTED]
        async with self._database.connection() as connection:
            last: int | None = await fetch_value(connection, "SELECT record_events(%s, %s, %s, %s, %s)", values)
        if last is not None:
            self._notifications.notify(CHANGED, lease.job_id)
            if lease.webhook_on_start and after == lease.last_sequence:
                self._notifications.notify(CALLBACKS, "")
        return last

    async def complete(self, lease: Lease, callback: Callback, assets: Sequence[AssetRow], rest: Unwritten) -> bool:
        """Ends a job as completed, with its last events and its assets. False if the lease is lost."""
        return await self._end(lease, "completed", None, callback, assets, rest)

    async def fail(self, lease: Lease, status: str, error: job_pb2.JobError) -> bool:
        """Ends a job as failed, cancelled or expired. False if the lease is lost."""
        return await self._end(lease, status, error)

    async def _end(
        self, lease: Lease, status: str, error: job_pb2.JobError | None, callback: Callback | None = None,
        assets: Sequence[AssetRow] = (), rest: Unwritten | None = None,
    ) -> bool:  # fmt: skip
        after, events = rest or Unwritten(lease.last_sequence, [])
        columns = [
            [getattr(asset, name) for asset in assets] for name in ("key", "type", "mime_type", "bytes", "sha256")
        ]
        ran = await self._change(
            lease,
            f"SELECT end_job({', '.join(['%s'] * 15)})",
            [lease.job_id, lease.attempt, status, callback and callback.SerializeToString(), *_error(error), after,
             [event.SerializeToString() for event in events], STARTED, ended(status), *columns],
        )  # fmt: skip
        if ran and lease.has_webhook:
            self._notifications.notify(CALLBACKS, "")
        return ran

    async def requeue(self, lease: Lease, error: job_pb2.JobError, delay_seconds: float, counts: bool) -> bool:
        """Gives a job back to the queue after a transient failure. False if the lease is lost.

        `counts` says whether the attempt is one of those that a job has.
        """
        event = edge_pb2.JobEvent(retry=edge_pb2.Retry(error=error, attempt=lease.attempt))
        event.retry.not_before.GetCurrentTime()
        event.retry.not_before.FromMilliseconds(event.retry.not_before.ToMilliseconds() + int(delay_seconds * 1000))
        requeued = await self._change(
            lease,
            "SELECT requeue_job(%s, %s, %s, %s, %s, %s, %s)",
            [lease.job_id, lease.attempt, *_error(error), delay_seconds, counts, event.SerializeToString()],
        )
        if requeued:
            self._notifications.notify(NEW, lease.worker_type)
        return requeued

    async def _change(self, lease: Lease, query: str, values: list[object]) -> bool:
        async with self._database.connection() as connection:
            changed = bool(await fetch_value(connection, query, values))
        if changed:
            self._notifications.notify(CHANGED, lease.job_id)
        return changed

    async def renew(self, leases: Sequence[Lease]) -> set[tuple[str, int]]:
        """Extends leases and returns job id and attempt of those that are still held."""
        async with self._database.connection() as connection:
            rows = await fetch_all(
                connection,
                f"UPDATE jobs SET lease_expires = now() + {LEASE}"
                " FROM unnest(%s::text[], %s::int[]) AS held(id, attempt)"
                " WHERE jobs.id = held.id AND jobs.attempt = held.attempt AND status IN ('leased', 'processing')"
                " RETURNING jobs.id, jobs.attempt",
                [[lease.job_id for lease in leases], [lease.attempt for lease in leases]],
            )
        return {(row["id"], row["attempt"]) for row in rows}

    async def failures(self, lease: Lease, reason: "job_pb2.ErrorReason") -> int:
        """How many attempts of a job ended for this reason."""
        async with self._database.connection() as connection:
            query = "SELECT count(*) FROM attempts WHERE job_id = %s AND reason = %s"
            return int(await fetch_value(connection, query, [lease.job_id, reason]))

    async def expire(self) -> None:
        """Ends the queued jobs whose deadline has passed, and the interactive ones whose caller left before they
        began."""
        async with self._database.connection() as connection:
            values = [*_error(TOO_LATE), ended("expired")]
            while job_id := await fetch_value(connection, "SELECT expire_job(%s, %s, %s)", values):
                self._notifications.notify(CHANGED, job_id)
                self._notifications.notify(CALLBACKS, "")  # whether it has a webhook is not worth another read


def _error(error: job_pb2.JobError | None) -> tuple[bytes | None, int | None]:
    return (error.SerializeToString(), error.reason) if error else (None, None)
