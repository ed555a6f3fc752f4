"""JobService: durable jobs."""

import math
from collections.abc import AsyncGenerator

from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from edge_service.doors.grpc.callers import Context, owner, principal
from edge_service.doors.grpc.pagination import before_token, page_token
from edge_service.queue.rows import status_word
from edge_service.use_cases.jobs import PAGE_SIZE, Jobs
from edge_service.use_cases.retry_job import RetryJob
from edge_service.use_cases.submit_job import SubmitJob


class JobServicer(edge_pb2_grpc.JobServiceServicer):
    """See the contract of JobService."""

    def __init__(self, submit: SubmitJob, retry: RetryJob, jobs: Jobs) -> None:
        self._submit, self._retry, self._jobs = submit, retry, jobs

    async def SubmitJob(self, request: edge_pb2.SubmitJobRequest, context: Context) -> edge_pb2.SubmitJobResponse:
        seconds_left = context.time_remaining() or math.inf
        return edge_pb2.SubmitJobResponse(job=await self._submit(request, principal(), seconds_left))

    async def GetJob(self, request: edge_pb2.GetJobRequest, context: Context) -> edge_pb2.GetJobResponse:
        return edge_pb2.GetJobResponse(job=await self._jobs.get(owner(), request.job_id))

    async def ListJobs(self, request: edge_pb2.ListJobsRequest, context: Context) -> edge_pb2.ListJobsResponse:
        size = request.page_size if request.HasField("page_size") else PAGE_SIZE
        statuses = [status_word(status) for status in request.statuses]
        page = await self._jobs.list(owner(), statuses, before_token(request.page_token), size)
        return edge_pb2.ListJobsResponse(jobs=page.jobs, next_page_token=page_token(page.next))

    def WatchJob(
        self, request: edge_pb2.WatchJobRequest, context: Context
    ) -> AsyncGenerator[edge_pb2.WatchJobResponse, None]:
        return self._jobs.watch(owner(), request.job_id, request.after_sequence)

    async def CancelJob(self, request: edge_pb2.CancelJobRequest, context: Context) -> edge_pb2.CancelJobResponse:
        return edge_pb2.CancelJobResponse(job=await self._jobs.cancel(owner(), request.job_id))

    async def RetryJob(self, request: edge_pb2.RetryJobRequest, context: Context) -> edge_pb2.RetryJobResponse:
        return edge_pb2.RetryJobResponse(job=await self._retry(request, principal()))
