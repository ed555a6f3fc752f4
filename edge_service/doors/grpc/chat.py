"""Interactive turns."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

from edge_service.accounts.tiers import tiers
from edge_service.doors.grpc.callers import Context, owner, principal
from edge_service.fleet import Fleet, Worker
from edge_service.planning.planner import Planner
from edge_service.queue.estimates.cost_model import CostModel
from edge_service.queue.execution import Execution, seat
from edge_service.queue.leases import Leases, Unwritten
from edge_service.queue.rows import Lease
from edge_service.queue.store import Store
from edge_service.use_cases.submit_job import afford, submission_of
from shared import errors
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.edge.v1 import edge_pb2, edge_pb2_grpc


class ChatServicer(edge_pb2_grpc.ChatServiceServicer):
    """Interactive turns: recorded as jobs, answered at once."""

    def __init__(
        self, store: Store, intake: Planner, leases: Leases, execution: Execution, fleet: Fleet, costs: CostModel
    ) -> None:
        self._store, self._intake, self._leases, self._execution = store, intake, leases, execution
        self._fleet, self._costs = fleet, costs

    async def Chat(self, request: edge_pb2.ChatRequest, context: Context) -> AsyncIterator[edge_pb2.ChatResponse]:
        await afford(self._store, self._intake.credits_of_turn())
        plan = await self._intake.turn(request, principal())
        worker = self._fleet.choose(plan.worker_type, plan.needs)
        if worker is None or (place := seat(worker)) is None:
            if not self._fleet.has(plan.worker_type, plan.needs):
                raise errors.NoWorker(f"no chat worker with {', '.join(plan.needs)} is connected")
            raise errors.NoWorker("no chat worker has a free slot now; try again soon")
        submission = submission_of(plan, self._costs, "", request)
        turns = tiers().turns(principal().tier)
        job = await self._store.create(replace(submission, interactive=True, limits=turns, counted=True))
        try:
            lease = await self._leases.lease_one(job.id, place)
        except asyncio.CancelledError:
            await self._store.cancel(owner(), job.id)
            raise
        if lease is None:
            await self._store.cancel(owner(), job.id)
            raise errors.NoWorker("no chat worker has a free slot any more; try again soon")
        try:
            yield edge_pb2.ChatResponse(accepted=job)
            async with contextlib.aclosing(self._answer(lease, worker)) as events:
                async for event in events:
                    kind = event.WhichOneof("event")
                    yield edge_pb2.ChatResponse(**{kind: getattr(event, kind)})
        except errors.AtelierError as error:
            await self._execution.settle(lease, error)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            await self._execution.settle(lease, errors.Cancelled("the call ended before the answer was complete"))
            raise
        except Exception:
            await self._execution.settle(lease, errors.Internal("internal error while answering"))
            raise

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
