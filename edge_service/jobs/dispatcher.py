"""Gives queued jobs to free workers and relays what they say into the event log."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator

from edge_service.fleet import STUBS, Fleet, Worker
from edge_service.jobs.execution import Execution, persistently
from edge_service.jobs.leases import Leases
from edge_service.jobs.records import Lease
from edge_service.jobs.statements import NEW, STOPPED
from edge_service.jobs.wakeups import Wakeups
from shared import errors
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.edge.v1 import edge_pb2

log = logging.getLogger(__name__)

RENEW_SECONDS = 3.0
# Deltas of a chat job are joined to at most ten events a second.
DELTA_SECONDS = 0.1
# Between notifications the queue is looked at anyway: delayed retries become due without one.
POLL_SECONDS = 1.0


class Dispatcher:
    """One per edge replica. Any number of replicas share the queue."""

    def __init__(self, leases: Leases, execution: Execution, fleet: Fleet, wakeups: Wakeups) -> None:
        self._leases, self._execution, self._fleet, self._wakeups = leases, execution, fleet, wakeups
        self._running: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loops = [self._dispatch(worker_type) for worker_type in STUBS]
        self._loops = [asyncio.create_task(loop) for loop in (*loops, self._renew(), self._sweep())]

    async def close(self) -> None:
        """Stops dispatching and gives the running jobs back to the queue."""
        for task in (*self._loops, *self._running):
            task.cancel()
        await asyncio.gather(*self._loops, *self._running, return_exceptions=True)

    async def _dispatch(self, worker_type: str) -> None:
        with self._wakeups.on(NEW, worker_type) as queued:
            while True:
                queued.clear()
                changed = self._fleet.changed
                with _surviving():
                    await self._fill_workers(worker_type)
                await _first(POLL_SECONDS, queued, changed)

    async def _renew(self) -> None:
        with self._wakeups.on(STOPPED, "") as stopped:
            while True:
                stopped.clear()
                with _surviving():
                    await self._execution.renew()
                await _first(RENEW_SECONDS, stopped)

    async def _sweep(self) -> None:
        while True:
            with _surviving():
                await self._leases.expire()
                await self._leases.forget_keys()
                # Ours first: after a stall of the database our own leases may look as if nobody held them.
                await self._execution.renew()
                for lease in await self._leases.overdue():
                    await self._execution.settle(lease, errors.WorkerLost("the edge that watched over it went away"))
            await asyncio.sleep(POLL_SECONDS)

    async def _fill_workers(self, worker_type: str) -> None:
        while worker := self._fleet.choose(worker_type):
            lease = await self._leases.lease_next(worker_type)
            if lease is None:
                return
            task = asyncio.create_task(self._execute(lease, worker))
            self._running.add(task)
            task.add_done_callback(self._done)
            await asyncio.sleep(0)  # lets the task count itself on the worker

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._fleet.notify()

    async def _execute(self, lease: Lease, worker: Worker) -> None:
        log.info("job started", extra={"job_id": lease.job_id, "attempt": lease.attempt, "worker": worker.address})
        try:
            await self._relay(lease, worker)
            log.info("job completed", extra={"job_id": lease.job_id, "attempt": lease.attempt})
        except errors.AtelierError as error:
            await self._settle(lease, error)
        except asyncio.CancelledError:
            # This replica stops: another one, or its next start, goes on with the job.
            await self._settle(lease, errors.Draining("the edge stopped"))
            raise
        except Exception:
            log.exception("job failed unexpectedly", extra={"job_id": lease.job_id})
            await self._settle(lease, errors.Internal("internal error while executing the job"))

    async def _settle(self, lease: Lease, error: errors.AtelierError) -> None:
        # If the database is away the lease runs out and a sweep finds the job.
        with contextlib.suppress(errors.DatabaseUnavailable):
            await self._execution.settle(lease, error)

    async def _relay(self, lease: Lease, worker: Worker) -> None:
        deltas = _Deltas()
        async with contextlib.aclosing(self._execution.events(lease, worker)) as events:
            async for event in events:
                kind = event.WhichOneof("event")
                due = deltas.add(event.delta) if kind == "delta" else deltas.take()
                if due:
                    await self._record(lease, edge_pb2.JobEvent(delta=due))
                if kind == "callback":
                    await self._execution.complete(lease, event.callback)
                    return
                if kind == "progress":
                    # The next one says more: not worth waiting for a database that is away.
                    with contextlib.suppress(errors.DatabaseUnavailable):
                        await self._leases.record(lease, edge_pb2.JobEvent(progress=event.progress))
                elif kind == "preview":
                    await self._record(lease, edge_pb2.JobEvent(preview=event.preview))
        raise errors.EngineFailed("the worker ended its stream without a result")

    async def _record(self, lease: Lease, event: edge_pb2.JobEvent) -> None:
        if not await persistently(lambda: self._leases.record(lease, event)):
            raise errors.Cancelled("the job was stopped")


class _Deltas:
    """Joins pieces of text until they are worth an event."""

    def __init__(self) -> None:
        self._text, self._tokens, self._since = "", 0, 0.0

    def add(self, delta: chat_pb2.ChatDelta) -> chat_pb2.ChatDelta | None:
        """Keeps a piece; returns all that is kept once the first of it is old enough."""
        if not self._text:
            self._since = time.monotonic()
        self._text, self._tokens = self._text + delta.text, delta.tokens
        return self.take() if time.monotonic() - self._since >= DELTA_SECONDS else None

    def take(self) -> chat_pb2.ChatDelta | None:
        """Returns all that is kept, if anything is."""
        if not self._text:
            return None
        joined, self._text = chat_pb2.ChatDelta(text=self._text, tokens=self._tokens), ""
        return joined


@contextlib.contextmanager
def _surviving() -> Iterator[None]:
    """A loop outlives what goes wrong in one of its rounds."""
    try:
        yield
    except errors.DatabaseUnavailable:
        log.warning("the database is away; trying again")
    except Exception:
        log.exception("a round of the dispatcher failed")


async def _first(timeout: float, *events: asyncio.Event) -> None:
    """Returns when one of the events is set, or after `timeout` seconds."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
