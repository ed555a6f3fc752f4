"""The event log of one running job: what its worker says is written at most ten times a second, what comes between is
joined. The first event is written at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from atelier.pb.edge.v1 import edge_pb2
from edge_service.queue.leases import Leases, Unwritten
from edge_service.queue.retries import retry_until_database_is_back
from edge_service.queue.rows import Lease

INTERVAL_SECONDS = 0.1


class EventWriter:
    """Writes events in the background, through any absence of the database. Opened by `event_writer`."""

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self._leases, self._lease, self._after = leases, lease, lease.last_sequence
        self._events: list[edge_pb2.JobEvent] = []
        self._added, self._writing = asyncio.Event(), asyncio.Lock()

    def add(self, event: edge_pb2.JobEvent) -> None:
        """Keeps an event for the next write."""
        if not (self._events and _joined(self._events[-1], event)):
            self._events.append(event)
        self._added.set()

    async def rest(self) -> Unwritten:
        """What is left to be written with the end of the job. Nothing is written after this."""
        async with self._writing:
            self._added.clear()
            return Unwritten(self._after, self._take())

    async def write(self, lost: Callable[[], None]) -> None:
        """Writes for ever; calls `lost` once the lease is."""
        while True:
            await self._added.wait()
            self._added.clear()
            async with self._writing:
                events = self._take()
                last = await retry_until_database_is_back(lambda: self._leases.record(self._lease, self._after, events))  # noqa: B023
            if last is None:
                return lost()
            self._after = last
            await asyncio.sleep(INTERVAL_SECONDS)

    def _take(self) -> list[edge_pb2.JobEvent]:
        events, self._events = self._events, []
        return events


@contextlib.asynccontextmanager
async def event_writer(leases: Leases, lease: Lease, lost: Callable[[], None]) -> AsyncIterator[EventWriter]:
    """An event writer that runs for the length of the block."""
    opened = EventWriter(leases, lease)
    writing = asyncio.create_task(opened.write(lost))
    try:
        yield opened
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


def _joined(last: edge_pb2.JobEvent, event: edge_pb2.JobEvent) -> bool:
    """Whether `last` could take up `event`: newer progress of the same phase, more text."""
    if event.HasField("delta") and last.HasField("delta"):
        last.delta.text += event.delta.text
        last.delta.tokens = event.delta.tokens
        return True
    if event.HasField("progress") and last.HasField("progress") and event.progress.phase == last.progress.phase:
        last.progress.CopyFrom(event.progress)
        return True
    return False
