"""Gives queued jobs to free workers and relays what they say into the event log."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator

from atelier.contracts import errors
from atelier.pb.edge.v1 import edge_pb2
from edge_service.accounts.tiers import tiers
from edge_service.adapters.notifications import NEW, STOPPED, Notifications
from edge_service.domain.kinds import KINDS
from edge_service.fleet import Fleet, Placement, Worker
from edge_service.queue.estimates.cost_model import CostModel
from edge_service.queue.event_writer import event_writer
from edge_service.queue.execution import Execution, worker_slot
from edge_service.queue.leases import Leases
from edge_service.queue.rows import Lease

log = logging.getLogger(__name__)

RENEW_SECONDS = 3.0
# While the database was away no replica could renew: when it is back all leases look lost, until each has had its turn.
GRACE_SECONDS = 2 * RENEW_SECONDS
# Between notifications the queue is looked at anyway: delayed retries become due without one.
POLL_SECONDS = 1.0


class Dispatcher:
    """One per edge replica. Any number of replicas share the queue."""

    def __init__(
        self, leases: Leases, execution: Execution, fleet: Fleet, notifications: Notifications, costs: CostModel
    ) -> None:
        self._leases, self._execution, self._fleet, self._notifications = leases, execution, fleet, notifications
        self._costs = costs
        self._running: set[asyncio.Task[None]] = set()
        self._leasing: list[asyncio.Task[None]] = []
        self._draining = asyncio.Event()
        self._watching: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._leasing = [asyncio.create_task(self._dispatch(worker_type)) for worker_type in KINDS]
        self._watching = [asyncio.create_task(loop) for loop in (self._renew(), self._sweep(), self._learn())]

    def drain(self) -> None:
        """Leases no more; what runs goes on."""
        self._draining.set()

    async def close(self, grace_seconds: float) -> None:
        """Lets running jobs end for a while, then gives the others back to the queue."""
        self.drain()
        await asyncio.gather(*self._leasing, return_exceptions=True)
        if self._running:
            await asyncio.wait(self._running, timeout=grace_seconds)
        for task in (*self._running, *self._watching):
            task.cancel()
        await asyncio.gather(*self._running, *self._watching, return_exceptions=True)
        with _surviving():
            await self._costs.flush()

    async def _dispatch(self, worker_type: str) -> None:
        with self._notifications.event(NEW, worker_type) as queued:
            while not self._draining.is_set():
                queued.clear()
                changed = self._fleet.changed
                for placement in self._fleet.candidates(worker_type):
                    with _surviving():  # an invalid answer of one worker must not keep the others from their jobs
                        await self._fill(placement)
                await _first(POLL_SECONDS, queued, changed, self._draining)

    async def _fill(self, placement: Placement) -> None:
        worker, slot = placement.worker, worker_slot(placement)
        free = worker.free
        if slot is None or free <= 0:
            return
        leases = await self._leases.lease(slot, self._fleet.offers(worker), free, tiers().ageing_seconds)
        for lease in leases:
            task = asyncio.create_task(self._execute(lease, worker))
            self._running.add(task)
            task.add_done_callback(self._done)
        await asyncio.sleep(0)  # lets the tasks count themselves on the worker

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._fleet.notify()

    async def _renew(self) -> None:
        with self._notifications.event(STOPPED, "") as stopped:
            while True:
                stopped.clear()
                with _surviving():
                    await self._execution.renew()
                await _first(RENEW_SECONDS, stopped)

    async def _sweep(self) -> None:
        grace_until = 0.0
        while True:
            with _surviving():
                try:
                    await self._leases.expire()
                    # Ours first: after a stall of the database our own leases may look expired.
                    await self._execution.renew()
                except errors.DatabaseUnavailable:
                    grace_until = time.monotonic() + GRACE_SECONDS
                    raise
                if time.monotonic() >= grace_until:
                    await self._take_over()
            await asyncio.sleep(POLL_SECONDS)

    async def _take_over(self) -> None:
        while leases := await self._leases.take_over():
            for lease in leases:
                lost = errors.EdgeLost("the edge replica that watched over it went away")
                await self._execution.fail_or_requeue(lease, lost)

    async def _learn(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            with _surviving():
                await self._costs.flush()

    async def _execute(self, lease: Lease, worker: Worker) -> None:
        log.info("job started", extra={"job_id": lease.job_id, "attempt": lease.attempt, "worker": worker.address})
        with contextlib.suppress(Exception):  # recorded with the job; a cancellation is none and goes on
            async with self._execution.attempt(lease):
                await self._relay(lease, worker)
            log.info("job completed", extra={"job_id": lease.job_id, "attempt": lease.attempt})

    async def _relay(self, lease: Lease, worker: Worker) -> None:
        async with (
            event_writer(self._leases, lease, lambda: self._execution.stop(lease)) as written,
            contextlib.aclosing(self._execution.events(lease, worker)) as events,
        ):
            async for event in events:
                kind = event.WhichOneof("event")
                if kind == "callback":
                    await self._execution.complete(lease, worker, event.callback, await written.rest())
                    return
                written.add(edge_pb2.JobEvent(**{kind: getattr(event, kind)}))
        raise errors.EngineFailed("the worker ended its stream without a result")


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
