"""The caller's own jobs: look at one, list, watch, cancel."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from atelier.pb.edge.v1 import edge_pb2
from edge_service.queue.estimates.queue_forecast import QueueForecast
from edge_service.queue.store import MAX_PAGE_BYTES, Store
from edge_service.queue.watch.hub import WatchHub
from edge_service.use_cases.links import Links

PAGE_SIZE = 20

Position = tuple[datetime, str]
"""Creation time and id of an item in a list, newest first: the list goes on behind it."""


class JobPage(NamedTuple):
    """Some of the jobs, and where the next page begins; None at the end."""

    jobs: list[edge_pb2.Job]
    next: Position | None


class Jobs:
    """Every call is about jobs of one owner; those of others raise JobNotFound."""

    def __init__(self, store: Store, watches: WatchHub, links: Links, forecast: QueueForecast) -> None:
        self._store, self._watches, self._links, self._forecast = store, watches, links, forecast

    async def get(self, owner: str, job_id: str) -> edge_pb2.Job:
        """One job, with its place in the queue and its estimates while it is open. Raises JobNotFound."""
        job = await self._store.job(owner, job_id)
        await self._foresee([job])
        return await self._links.job(job)

    async def list(
        self, owner: str, statuses: Sequence[str], before: Position | None, size: int = PAGE_SIZE
    ) -> JobPage:
        """A page of jobs, newest first; of `statuses` alone if there are any. It is shorter where jobs are large."""
        found = await self._store.jobs(owner, statuses, before, size + 1)
        jobs = [await self._links.job(job) for job in found[:size]]
        is_more = len(found) > size or sum(job.ByteSize() for job in jobs) >= MAX_PAGE_BYTES
        await self._foresee(jobs)  # once: where the queue is deep, each time takes a second
        return JobPage(jobs, (jobs[-1].created.ToDatetime(UTC), jobs[-1].id) if is_more else None)

    def watch(self, owner: str, job_id: str, after: int) -> AsyncGenerator[edge_pb2.WatchJobResponse, None]:
        """What happens to a job after a sequence number, to its end. Raises JobNotFound, Draining."""
        return self._watches.watch(owner, job_id, after)

    async def cancel(self, owner: str, job_id: str) -> edge_pb2.Job:
        """Ends an open job; an ended one stays as it is. Raises JobNotFound."""
        return await self._links.job(await self._store.cancel(owner, job_id))

    async def _foresee(self, jobs: Sequence[edge_pb2.Job]) -> None:
        """Fills in the place and the estimates of those that are still open."""
        open_jobs = {job.id: job for job in jobs if not job.HasField("ended")}
        for job_id, forecast in (await self._forecast.of(list(open_jobs))).items() if open_jobs else ():
            if forecast.position is not None:
                open_jobs[job_id].queue_position = forecast.position
            if forecast.estimate is not None:
                open_jobs[job_id].estimate.CopyFrom(forecast.estimate)
