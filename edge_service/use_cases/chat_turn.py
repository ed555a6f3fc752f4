"""An interactive chat turn: recorded as a job, answered at once."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from atelier.contracts import errors
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.plan import Plan
from edge_service.domain.principal import Principal
from edge_service.fleet import Fleet, Worker
from edge_service.planning.planner import Planner
from edge_service.queue.execution import Execution, worker_slot
from edge_service.queue.leases import Leases, Unwritten
from edge_service.queue.rows import Lease, WorkerSlot
from edge_service.queue.store import Store
from edge_service.use_cases.admission import Admission, Order


class ChatTurn:
    """Call it with a request; it yields the accepted job, then what the worker says, the result last."""

    def __init__(
        self, store: Store, planner: Planner, admission: Admission, leases: Leases, execution: Execution, fleet: Fleet
    ) -> None:
        self._store, self._planner, self._admission = store, planner, admission
        self._leases, self._execution, self._fleet = leases, execution, fleet

    async def __call__(
        self, request: edge_pb2.ChatRequest, caller: Principal
    ) -> AsyncGenerator[edge_pb2.ChatResponse, None]:
        """Raises AtelierError; closing the iterator cancels the turn and stops the worker."""
        await self._admission.afford(caller, self._planner.credits_of_turn())
        plan = await self._planner.turn(request, caller)
        worker, slot = self._free_worker(plan)
        job = await self._admission.store(plan, Order(caller, request), counted=True, turn=True)
        lease = await self._leased(job, slot)
        async with self._execution.attempt(lease):
            yield edge_pb2.ChatResponse(accepted=job)
            async with contextlib.aclosing(self._answer(lease, worker)) as events:
                async for event in events:
                    kind = event.WhichOneof("event")
                    yield edge_pb2.ChatResponse(**{kind: getattr(event, kind)})

    def _free_worker(self, plan: Plan) -> tuple[Worker, WorkerSlot]:
        placement = self._fleet.choose(plan.worker_type, plan.needs)
        if placement is not None and (slot := worker_slot(placement)) is not None:
            return placement.worker, slot
        if not self._fleet.has(plan.worker_type, plan.needs):
            raise errors.NoWorker(f"no chat worker with {', '.join(plan.needs)} is connected")
        raise errors.NoWorker("no chat worker has a free slot now; try again soon")

    async def _leased(self, job: edge_pb2.Job, slot: WorkerSlot) -> Lease:
        try:
            lease = await self._leases.lease_one(job.id, slot)
        except asyncio.CancelledError:
            await self._store.cancel(job.user_id, job.id)
            raise
        if lease is None:
            await self._store.cancel(job.user_id, job.id)
            raise errors.NoWorker("no chat worker has a free slot any more; try again soon")
        return lease

    async def _answer(self, lease: Lease, worker: Worker) -> AsyncGenerator[chat_pb2.GenerateResponse, None]:
        """The worker's events, the callback once it is stored. The text is in it: a turn's log needs no pieces."""
        after: int | None = None
        async with contextlib.aclosing(self._execution.events(lease, worker)) as events:
            async for event in events:
                if after is None and (after := await self._leases.record(lease, lease.last_sequence, [])) is None:
                    raise errors.Cancelled("the turn was cancelled")
                if event.HasField("callback"):
                    await self._execution.complete(lease, worker, event.callback, Unwritten(after, []))
                yield event
