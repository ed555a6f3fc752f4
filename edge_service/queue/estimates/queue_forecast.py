"""Positions in the queue, and when jobs will probably start and end.

The order is that of the function `queue_order`: the one in which `lease_jobs` takes jobs if nothing changes. New jobs,
retries and ageing change it as time goes by; where a line has waited so long that it rose to those of a higher
priority, it may also come a few places later than foreseen.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from atelier.pb.edge.v1 import edge_pb2
from edge_service.adapters.database import Database, Row, fetch_all
from edge_service.queue.estimates.eta import Ahead, estimated

QUERY = """
WITH wanted AS MATERIALIZED (
    SELECT id, worker_type, status = 'queued' AS waits, cost, spread, samples, attempt FROM jobs
    WHERE id = ANY(%(ids)s) AND (status IN ('leased', 'processing') OR status = 'queued' AND NOT interactive)
), ordered AS (
    SELECT queued.* FROM (SELECT DISTINCT worker_type FROM wanted WHERE waits) AS types,
        queue_order(worker_type, %(ageing)s) AS queued
), running AS MATERIALIZED (
    SELECT id, worker_type, spread ^ 2 AS variance, spread / sqrt(1 + samples) AS doubt, greatest(
        cost - took, %(least)s * greatest(cost, took)
    ) AS remaining FROM jobs, LATERAL (
        SELECT coalesce(extract(epoch FROM clock_timestamp() - max(attempts.started)), 0)::float8 AS took
        FROM attempts WHERE job_id = jobs.id AND number = jobs.attempt
    ) AS attempt WHERE lease_expires IS NOT NULL AND worker_type IN (SELECT worker_type FROM wanted)
), busy AS (
    SELECT worker_type, array_agg(remaining) AS seconds, sum(variance) AS variance, sum(doubt) AS doubt
    FROM running GROUP BY worker_type
)
SELECT wanted.id, wanted.worker_type, wanted.cost, wanted.spread, wanted.samples, place AS position, remaining,
    coalesce(ordered.cost, 0) - wanted.cost AS ahead, coalesce(busy.seconds, '{}') AS busy,
    coalesce(ordered.variance, 0) - wanted.spread ^ 2 + coalesce(busy.variance, 0) AS variance,
    coalesce(ordered.doubt, 0) - wanted.spread / sqrt(1 + wanted.samples) + coalesce(busy.doubt, 0) AS doubt
FROM wanted LEFT JOIN ordered USING (id) LEFT JOIN running USING (id)
    LEFT JOIN busy ON busy.worker_type = wanted.worker_type"""
# A job that takes longer than it should still needs this share of what it has taken or should take.
MIN_REMAINING = 0.1


@dataclass(frozen=True)
class Forecast:
    """What is known of an open job's future. `position` is 1 for the next; None once it has left the queue."""

    position: int | None
    estimate: edge_pb2.Estimate | None


class QueueForecast:
    """Answers with one query at a time, however many ask: calls that come meanwhile share the next one."""

    def __init__(self, database: Database, slots: Callable[[str], int], ageing_seconds: Callable[[], float]) -> None:
        """`slots` gives those of all accepting workers of a type; 0 while there are none."""
        self._database, self._slots, self._ageing_seconds = database, slots, ageing_seconds
        self._asked: set[str] = set()
        self._next: asyncio.Task[dict[str, Forecast]] | None = None
        self._querying = asyncio.Lock()
        self._rests_until = 0.0

    async def of(self, job_ids: Sequence[str]) -> dict[str, Forecast]:
        """Forecasts by job. Jobs that ended, wait for their caller only or do not exist have none.

        Raises DatabaseUnavailable."""
        if not job_ids:
            return {}
        self._asked.update(job_ids)
        if self._next is None:
            self._next = asyncio.create_task(self._answer())
            # All callers may have gone away by the time it fails.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Shielded: one caller's cancellation must not end it for the others.
        found = await asyncio.shield(self._next)
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    async def _answer(self) -> dict[str, Forecast]:
        async with self._querying:
            # However many ask for how deep a queue, half of the time of one connection is all that they get.
            await asyncio.sleep(self._rests_until - monotonic())
            asked, self._asked, self._next = list(self._asked), set(), None
            began = monotonic()
            try:
                rows = await self._rows(asked)
            finally:
                self._rests_until = 2 * monotonic() - began
        now = datetime.now(UTC)
        return {row["id"]: self._forecast(row, now) for row in rows}

    async def _rows(self, job_ids: list[str]) -> list[Row]:
        values = {"ids": job_ids, "ageing": self._ageing_seconds(), "least": MIN_REMAINING}
        async with self._database.connection() as connection:
            return await fetch_all(connection, QUERY, values)

    def _forecast(self, row: Row, now: datetime) -> Forecast:
        if row["remaining"] is not None:
            return Forecast(None, estimated(now, None, row["remaining"], row["spread"], row["samples"]))
        slots = self._slots(row["worker_type"])
        if not slots:
            return Forecast(row["position"], None)
        ahead = Ahead(row["position"] - 1, row["ahead"], row["busy"], row["variance"], row["doubt"])
        return Forecast(row["position"], estimated(now, ahead.wait(slots), row["cost"], row["spread"], row["samples"]))
