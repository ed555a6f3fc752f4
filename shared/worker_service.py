"""What every worker serves besides its own service: Describe, the pushed status stream and the counting of tokens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from atelier.contracts.errors import Draining, InvalidRequest, NotImplementedYet, Violation
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from shared.slots import Slots
from shared.tokens import TokenCount
from shared.worker_configs import WorkerConfig, describe

HEARTBEAT_SECONDS = 2.0
# Name of a loaded model, texts -> what each of its tokenizers counts. Called in a thread of its own, one after another.
CountTokens = Callable[[str, Sequence[str]], Sequence[TokenCount]]


class WorkerServicer(worker_pb2_grpc.WorkerServiceServicer):
    """Tells the edge what this worker is and how busy it is. `config` is set once the model has loaded.

    `memory` returns the accelerator's memory (used by all processes, total) in MB; (0, 0) without one.
    """

    def __init__(self, slots: Slots, memory: Callable[[], tuple[int, int]], count_tokens: CountTokens) -> None:
        self.config: WorkerConfig | None = None
        self._slots, self._memory, self._count_tokens = slots, memory, count_tokens
        # Neither the engine's thread, which a running job fills, nor the event loop.
        self._counting = ThreadPoolExecutor(1, thread_name_prefix="tokens")

    def register(self, server: grpc.aio.Server) -> None:
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(self, server)

    async def Describe(
        self, request: worker_pb2.DescribeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> worker_pb2.DescribeResponse:
        return worker_pb2.DescribeResponse(worker=describe(self._loaded()))

    async def WatchStatus(
        self, request: worker_pb2.WatchStatusRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[worker_pb2.WatchStatusResponse]:
        while not self._slots.draining:
            changed = self._slots.changed
            yield self._status()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), HEARTBEAT_SECONDS)
        yield self._status()

    async def LoadModel(
        self, request: worker_pb2.LoadModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> worker_pb2.LoadModelResponse:
        raise NotImplementedYet("LoadModel: a worker loads its models at start; changing them later is not built yet")

    async def UnloadModel(
        self, request: worker_pb2.UnloadModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> worker_pb2.UnloadModelResponse:
        raise NotImplementedYet("UnloadModel: a worker keeps its models until it stops; unloading is not built yet")

    async def CountTokens(
        self, request: worker_pb2.CountTokensRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> worker_pb2.CountTokensResponse:
        names = [model.name for model in self._loaded().models]
        if request.model not in names:
            raise InvalidRequest(Violation("model", f"must be a loaded one: {', '.join(names)}"))
        loop = asyncio.get_running_loop()
        counts = await loop.run_in_executor(self._counting, self._count_tokens, request.model, request.texts)
        return worker_pb2.CountTokensResponse(counts=[worker_pb2.TokenCount(**vars(count)) for count in counts])

    def _loaded(self) -> WorkerConfig:
        if self.config is None:
            raise Draining("this worker is still loading its model")
        return self.config

    def close(self) -> None:
        """Frees the thread that counts."""
        self._counting.shutdown(wait=False, cancel_futures=True)

    def _status(self) -> worker_pb2.WatchStatusResponse:
        models = self.config.models if self.config else ()
        used, total = self._memory()
        return worker_pb2.WatchStatusResponse(
            slots=self._slots.total,
            free_slots=self._slots.free,
            waiting=self._slots.waiting,
            accepting=self._slots.accepting,
            loaded_models=[model.name for model in models],
            device_memory_used_mb=used,
            device_memory_total_mb=total,
        )
