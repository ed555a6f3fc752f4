"""Running an ended job again, as a new job."""

from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.principal import Principal
from edge_service.planning.planner import Planner
from edge_service.queue.store import Store
from edge_service.use_cases.admission import Admission, Order


class RetryJob:
    """Call it with a request; the answer is the new job, with the same parameters and seeds."""

    def __init__(self, store: Store, planner: Planner, admission: Admission) -> None:
        self._store, self._planner, self._admission = store, planner, admission

    async def __call__(self, request: edge_pb2.RetryJobRequest, caller: Principal) -> edge_pb2.Job:
        """Raises JobNotFound, JobNotEnded, and AtelierError for what may not be done any more."""
        order = Order(caller, request, request.idempotency_key)
        if earlier := await self._admission.earlier(order):
            return earlier
        await self._admission.count(caller)
        ended = await self._store.ended_plan(caller.user_id, request.job_id)
        plan = await self._planner.again(ended, request.job_id, caller)
        return await self._admission.store(plan, order, counted=True, retry_of=request.job_id)
