"""A client that tells everything it did: each call goes into the history as it was asked and answered."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc

from atelier.connection import OPTIONS
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from atelier.pb.sdxl.v1 import sdxl_pb2
from benchmarks.chaos.history import History, Watch
from benchmarks.chaos.work import Work

CALL_SECONDS = 20.0
# How long a client asks again after an answer that leaves it in the dark.
TIMEOUT_SECONDS = 90.0
UNKNOWN_OUTCOME = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
)


T = TypeVar("T")


class Caller:
    """One user on one channel, with the retry policy of the client library."""

    def __init__(self, user: str, addresses: Sequence[str], history: History) -> None:
        self.user, self._history = user, history
        self._channel = grpc.aio.insecure_channel(f"ipv4:{','.join(addresses)}", options=(*OPTIONS, *ONE_OF_ITS_OWN))
        self._metadata = (("authorization", f"Bearer token-of-{user}"),)
        self._jobs = edge_pb2_grpc.JobServiceStub(self._channel)
        self._fleet = edge_pb2_grpc.FleetServiceStub(self._channel)

    async def close(self) -> None:
        await self._channel.close(None)

    async def accepting_workers(self) -> int:
        """How many workers the edge could give work to; 0 while it cannot be asked."""
        try:
            answer = await self._fleet.ListWorkers(edge_pb2.ListWorkersRequest(), metadata=self._metadata, timeout=5)
        except grpc.aio.AioRpcError:
            return 0
        return sum(worker.status.accepting for worker in answer.workers)

    async def webhook_secret(self) -> str:
        """What signs this user's callbacks."""
        account = edge_pb2_grpc.AccountServiceStub(self._channel)
        answer = await account.GetWebhookSecret(edge_pb2.GetWebhookSecretRequest(), metadata=self._metadata)
        return str(answer.secret)

    async def submit_once(self, request: edge_pb2.SubmitJobRequest) -> edge_pb2.Job:
        """One SubmitJob. Raises AioRpcError."""
        key = request.idempotency_key
        return await self._told("submit", key, "", request, lambda: self._call(self._jobs.SubmitJob, request))

    async def submit(self, request: edge_pb2.SubmitJobRequest) -> edge_pb2.Job:
        """SubmitJob, asked again with its key until the answer is known."""
        return await _until_known(lambda: self.submit_once(request))

    async def get(self, job_id: str) -> edge_pb2.Job:
        request = edge_pb2.GetJobRequest(job_id=job_id)
        once = lambda: self._told("get", "", job_id, None, lambda: self._call(self._jobs.GetJob, request))  # noqa: E731
        return await _until_known(once)

    async def cancel(self, job_id: str) -> edge_pb2.Job:
        request = edge_pb2.CancelJobRequest(job_id=job_id)
        return await _until_known(
            lambda: self._told("cancel", "", job_id, None, lambda: self._call(self._jobs.CancelJob, request))
        )

    async def retry(self, job_id: str, key: str) -> edge_pb2.Job:
        request = edge_pb2.RetryJobRequest(job_id=job_id, idempotency_key=key)
        return await _until_known(
            lambda: self._told("retry", key, job_id, None, lambda: self._call(self._jobs.RetryJob, request))
        )

    async def list(self, size: int) -> list[edge_pb2.Job]:
        request = edge_pb2.ListJobsRequest(page_size=size)
        once = lambda: self._jobs.ListJobs(request, metadata=self._metadata, timeout=CALL_SECONDS)  # noqa: E731
        return list((await _until_known(once)).jobs)

    async def watch(self, job_id: str, after: int = 0) -> AsyncIterator[edge_pb2.JobEvent]:
        """The job's events after a sequence number until its end, over as many connections as it takes.

        What this watcher saw goes into the history also if it leaves before the end.
        """
        seen = Watch(self.user, job_id, after)
        self._history.watches.append(seen)
        alive = time.monotonic()
        while not seen.finished:
            seen.connections += 1
            last = seen.events[-1].sequence if seen.events else after
            request = edge_pb2.WatchJobRequest(job_id=job_id, after_sequence=last)
            call = self._jobs.WatchJob(request, metadata=self._metadata)
            seen.heard = time.time()
            try:
                async for message in call:
                    alive, seen.heard = time.monotonic(), time.time()
                    if message.HasField("event"):
                        seen.events.append(message.event)
                        seen.finished = message.event.HasField("ended")
                        yield message.event
                # A stream that ended well without the terminal event had nothing to tell: the job had ended before.
                seen.finished = seen.finished or await call.code() is grpc.StatusCode.OK
            except grpc.aio.AioRpcError as error:
                if error.code() not in UNKNOWN_OUTCOME or time.monotonic() - alive > TIMEOUT_SECONDS:
                    raise
                await asyncio.sleep(0.2)
            finally:
                call.cancel()

    async def ended(self, job_id: str, after: int = 0) -> edge_pb2.Job:
        """Watches a job to its end."""
        async for event in self.watch(job_id, after):
            if event.HasField("ended"):
                return event.ended
        return await self.get(job_id)

    async def _call(self, method: Any, request: Any) -> edge_pb2.Job:
        answer = await method(request, metadata=self._metadata, timeout=CALL_SECONDS)
        job: edge_pb2.Job = answer.job
        return job

    async def _told(
        self, operation: str, key: str, job_id: str, request: Any, call: Callable[[], Awaitable[edge_pb2.Job]]
    ) -> edge_pb2.Job:
        answer = self._history.add(self.user, operation, key, job_id, request, time.time())
        try:
            job = await call()
        except grpc.aio.AioRpcError as error:
            answer.told(None, f"{error.code().name}: {error.details()}")
            raise
        answer.told(job)
        return job


# Channels to the same addresses would share one connection, and one killed edge would look like one client's loss.
ONE_OF_ITS_OWN = (("grpc.use_local_subchannel_pool", 1),)


async def _until_known(call: Callable[[], Awaitable[T]]) -> T:
    gives_up = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() not in UNKNOWN_OUTCOME or time.monotonic() > gives_up:
                raise
            await asyncio.sleep(0.3)


def chat(work: Work, key: str = "", **fields: Any) -> edge_pb2.SubmitJobRequest:
    """A chat job for a stand-in engine."""
    message = chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, content=work.prompt())
    request = chat_pb2.ChatRequest(messages=[message], max_tokens=256)
    return edge_pb2.SubmitJobRequest(chat=request, idempotency_key=key, **fields)


def image(work: Work, key: str = "", images: int = 1, seed: int = 7, **fields: Any) -> edge_pb2.SubmitJobRequest:
    """An image job for a stand-in engine."""
    config = sdxl_pb2.SdxlConfig(num_images=images, resolution="64x64", seed=seed)
    job = sdxl_pb2.SdxlJob(type=sdxl_pb2.SDXL_JOB_TYPE_SDXL_IMAGE_FAST, prompt=work.prompt(), config=config)
    return edge_pb2.SubmitJobRequest(sdxl=job, idempotency_key=key, **fields)


@contextlib.asynccontextmanager
async def callers(*made: Caller) -> AsyncIterator[Sequence[Caller]]:
    """Closes them in the end."""
    try:
        yield made
    finally:
        await asyncio.gather(*(caller.close() for caller in made))
