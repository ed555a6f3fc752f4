"""Durable jobs: submit, look at, follow, cancel, repeat."""

import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC

from google.protobuf.message import Message

from edge_service.doors.grpc.callers import Context, owner, principal
from edge_service.doors.grpc.pagination import before_token, page_token
from edge_service.planning.planner import Planner
from edge_service.queue.estimates.cost_model import CostModel
from edge_service.queue.estimates.queue_forecast import QueueForecast
from edge_service.queue.rows import status_word
from edge_service.queue.store import MAX_PAGE_BYTES, Store
from edge_service.queue.watch.hub import WatchHub
from edge_service.use_cases.links import Links
from edge_service.use_cases.submit_job import afford, count, digest, submission_of
from shared import errors
from shared.pb.atelier.edge.v1 import edge_pb2, edge_pb2_grpc

PAGE_SIZE = 20


class JobServicer(edge_pb2_grpc.JobServiceServicer):
    """Durable jobs."""

    def __init__(
        self, store: Store, intake: Planner, feeds: WatchHub, links: Links, costs: CostModel, forecasts: QueueForecast
    ) -> None:
        self._store, self._intake, self._feeds, self._links = store, intake, feeds, links
        self._costs, self._forecasts = costs, forecasts

    async def SubmitJob(self, request: edge_pb2.SubmitJobRequest, context: Context) -> edge_pb2.SubmitJobResponse:
        if costly := self._intake.is_costly(request):
            if earlier := await self._earlier(request, request.idempotency_key):
                return edge_pb2.SubmitJobResponse(job=earlier)
            await afford(self._store, self._intake.credits_of(request))
        try:
            plan = await self._intake.job(request, principal(), context.time_remaining() or math.inf)
        except errors.AtelierError:
            if earlier := await self._earlier(request, request.idempotency_key):
                return edge_pb2.SubmitJobResponse(job=earlier)
            if not costly:
                await count(self._store)
            raise
        submission = submission_of(plan, self._costs, request.idempotency_key, request)
        job = await self._store.create(replace(submission, counted=costly))
        return edge_pb2.SubmitJobResponse(job=await self._links.job(job))

    async def _earlier(self, request: Message, key: str) -> edge_pb2.Job | None:
        """What was stored for this very request before is what it is, though the same would be refused today."""
        job = await self._store.earlier(owner(), key, digest(request))
        return job and await self._links.job(job)

    async def GetJob(self, request: edge_pb2.GetJobRequest, context: Context) -> edge_pb2.GetJobResponse:
        job = await self._store.job(owner(), request.job_id)
        await self._foresee([job])
        return edge_pb2.GetJobResponse(job=await self._links.job(job))

    async def _foresee(self, jobs: Sequence[edge_pb2.Job]) -> None:
        """Fills in the place and the estimates of those that are still open."""
        open_jobs = {job.id: job for job in jobs if not job.HasField("ended")}
        for job_id, forecast in (await self._forecasts.of(list(open_jobs))).items() if open_jobs else ():
            if forecast.position is not None:
                open_jobs[job_id].queue_position = forecast.position
            if forecast.estimate is not None:
                open_jobs[job_id].estimate.CopyFrom(forecast.estimate)

    async def ListJobs(self, request: edge_pb2.ListJobsRequest, context: Context) -> edge_pb2.ListJobsResponse:
        answer, before = edge_pb2.ListJobsResponse(), before_token(request.page_token)
        wanted = request.page_size if request.HasField("page_size") else PAGE_SIZE
        words = [status_word(status) for status in request.statuses]
        found = await self._store.jobs(owner(), words, before, wanted + 1)
        answer.jobs.extend([await self._links.job(job) for job in found[:wanted]])
        if len(found) > wanted or answer.ByteSize() >= MAX_PAGE_BYTES:
            last = answer.jobs[-1]
            answer.next_page_token = page_token(last.created.ToDatetime(UTC), last.id)
        await self._foresee(answer.jobs)  # once: where the queue is deep, each time takes a second
        return answer

    def WatchJob(
        self, request: edge_pb2.WatchJobRequest, context: Context
    ) -> AsyncGenerator[edge_pb2.WatchJobResponse, None]:
        return self._feeds.watch(owner(), request.job_id, request.after_sequence)

    async def CancelJob(self, request: edge_pb2.CancelJobRequest, context: Context) -> edge_pb2.CancelJobResponse:
        job = await self._store.cancel(owner(), request.job_id)
        return edge_pb2.CancelJobResponse(job=await self._links.job(job))

    async def RetryJob(self, request: edge_pb2.RetryJobRequest, context: Context) -> edge_pb2.RetryJobResponse:
        if earlier := await self._earlier(request, request.idempotency_key):
            return edge_pb2.RetryJobResponse(job=earlier)
        await count(self._store)
        ended = await self._store.ended_plan(owner(), request.job_id)
        plan = await self._intake.again(ended, request.job_id, principal())
        submission = submission_of(plan, self._costs, request.idempotency_key, request)
        job = await self._store.create(replace(submission, retry_of=request.job_id, counted=True))
        return edge_pb2.RetryJobResponse(job=await self._links.job(job))
