"""The workers: what each is, how busy it is, and which one gets the next job."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import grpc
from grpc.aio import EOF  # type: ignore[attr-defined]

from shared.pb.atelier.chat.v1 import chat_pb2_grpc
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2_grpc
from shared.pb.atelier.wan.v1 import wan_pb2_grpc
from shared.pb.atelier.worker.v1 import worker_pb2, worker_pb2_grpc

log = logging.getLogger(__name__)

STUBS: dict[str, Any] = {
    "sdxl": sdxl_pb2_grpc.SdxlServiceStub,
    "wan": wan_pb2_grpc.WanServiceStub,
    "chat": chat_pb2_grpc.ChatServiceStub,
}
# A frozen worker is noticed by keepalive within 8 s; a status stream that says nothing for longer is dead too.
SILENCE_SECONDS = 8.0
RECONNECT_SECONDS = (0.2, 5.0)
OPTIONS = (
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
)


Notify = Callable[[], None]


class Worker:
    """One worker as the edge knows it. `description` and `status` are None while it cannot be reached."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.description: worker_pb2.WorkerDescription | None = None
        self.status: worker_pb2.WatchStatusResponse | None = None
        self.in_flight = 0

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        # Made at first use: a channel belongs to the event loop that runs when it is made.
        return grpc.aio.insecure_channel(self.address, options=OPTIONS)

    @property
    def free(self) -> int:
        """Slots that neither its last status nor a job sent since then has taken."""
        if self.status is None or self.description is None or not self.status.accepting:
            return 0
        return self.status.slots - max(self.in_flight, self.status.slots - self.status.free_slots)

    @property
    def worker_type(self) -> str:
        return self.description.worker_type if self.description else ""

    def generate(self, request: Any, timeout: float) -> Any:
        """Starts one job; returns the streaming call."""
        return STUBS[self.worker_type](self._channel).Generate(request, timeout=timeout)

    @contextlib.contextmanager
    def occupied(self) -> Iterator[None]:
        """Counts one job of ours for the length of the block."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    async def follow(self, notify: Notify) -> None:
        """Keeps description and status up to date for ever, calling `notify` whenever they change."""
        stub = worker_pb2_grpc.WorkerServiceStub(self._channel)
        delay = RECONNECT_SECONDS[0]
        while True:
            try:
                answer = await stub.Describe(worker_pb2.DescribeRequest(), timeout=SILENCE_SECONDS)
                await self._relay(stub.WatchStatus(worker_pb2.WatchStatusRequest()), answer.worker, notify)
                delay = RECONNECT_SECONDS[0]
            except (grpc.aio.AioRpcError, TimeoutError):
                delay = min(delay * 2, RECONNECT_SECONDS[1])
            if self.status is not None:
                log.warning("worker lost", extra={"address": self.address})
                delay = RECONNECT_SECONDS[0]
            self.status = None
            notify()
            await asyncio.sleep(delay)

    async def _relay(
        self, statuses: Any, description: worker_pb2.WorkerDescription, notify: Callable[[], None]
    ) -> None:
        try:
            while (status := await asyncio.wait_for(statuses.read(), SILENCE_SECONDS)) is not EOF:
                if self.status is None:
                    log.info("worker connected", extra={"address": self.address, "worker_id": description.worker_id})
                self.description, self.status = description, status
                notify()
        finally:
            statuses.cancel()

    async def close(self) -> None:
        await self._channel.close(None)

    def message(self) -> edge_pb2.Worker:
        """The worker as operators see it."""
        return edge_pb2.Worker(address=self.address, description=self.description, status=self.status)


class Fleet:
    """All workers the edge was told of."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.workers = [Worker(address) for address in addresses]
        self.changed = asyncio.Event()
        """Take it before reading the workers; it is set when any of them changes."""
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(worker.follow(self.notify)) for worker in self.workers]

    def notify(self) -> None:
        """Wakes whoever waits for a change."""
        before, self.changed = self.changed, asyncio.Event()
        before.set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in self.workers))

    def choose(self, worker_type: str) -> Worker | None:
        """The worker of this type with the most free slots; None if none has any."""
        fitting = [worker for worker in self.workers if worker.worker_type == worker_type and worker.free > 0]
        return max(fitting, key=lambda worker: worker.free, default=None)

    def connected(self) -> list[Worker]:
        """The workers that can be reached now."""
        return [worker for worker in self.workers if worker.status is not None]

    def models(self) -> dict[str, list[worker_pb2.Model]]:
        """The models of the connected workers, by worker type."""
        found: dict[str, list[worker_pb2.Model]] = {}
        for worker in self.connected():
            if worker.description:
                found.setdefault(worker.worker_type, []).extend(worker.description.models)
        return found
