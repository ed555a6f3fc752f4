"""Submitting a job: planned, stored, and then waiting for a worker."""

from atelier.contracts.errors import AtelierError
from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.principal import Principal
from edge_service.planning.planner import Planner
from edge_service.use_cases.admission import Admission, Order


class SubmitJob:
    """Call it with a request; the answer is the stored job."""

    def __init__(self, planner: Planner, admission: Admission) -> None:
        self._planner, self._admission = planner, admission

    async def __call__(
        self, request: edge_pb2.SubmitJobRequest, caller: Principal, seconds_left: float
    ) -> edge_pb2.Job:
        """Plans and stores a job; a repetition with the same idempotency key returns the job it made.

        `seconds_left` is how long the caller still waits. Raises AtelierError for what cannot or may not be done. A
        refused request counts as one; where planning is costly it is counted, and must be affordable, before that.
        """
        order = Order(caller, request, request.idempotency_key)
        if costly := self._planner.is_costly(request):
            if earlier := await self._admission.earlier(order):
                return earlier
            await self._admission.afford(caller, self._planner.credits_of(request))
        try:
            plan = await self._planner.job(request, caller, seconds_left)
        except AtelierError:
            if earlier := await self._admission.earlier(order):
                return earlier
            if not costly:
                await self._admission.count(caller)
            raise
        return await self._admission.store(plan, order, counted=costly)
