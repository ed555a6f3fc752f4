"""What every worker serves besides its own service: Describe, pushed status, loading of models, counting of tokens."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc

from atelier.contracts.errors import CapabilityMissing, InvalidRequest, ModelUnusable, Violation
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from shared.worker.description import WorkerConfig, describe
from shared.worker.models import Models
from shared.worker.slots import Slots

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 2.0


class WorkerServicer(worker_pb2_grpc.WorkerServiceServicer):
    """Tells the edge what this worker is and how busy it is, and loads and unloads its models."""

    def __init__(self, slots: Slots, models: Models[Any], describe: Callable[[], WorkerConfig]) -> None:
        """`describe` raises Draining until the worker has loaded."""
        self._slots, self._models, self._describe = slots, models, describe
        self._described: tuple[WorkerConfig, worker_pb2.DescribeResponse] | None = None
        # Neither the engine's thread, which a running job fills, nor the event loop.
        self._counting = ThreadPoolExecutor(1, thread_name_prefix="tokens")

    def register(self, server: grpc.aio.Server) -> None:
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(self, server)

    async def Describe(
        self, request: worker_pb2.DescribeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> worker_pb2.DescribeResponse:
        config = self._describe()
        if self._described is None or self._described[0] is not config:
            self._described = config, worker_pb2.DescribeResponse(worker=describe(config))
        return self._described[1]

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
        try:
            await self._models.load(request.name)
        except ModelUnusable as error:
            log.error("a model could not be loaded", exc_info=error, extra={"model": request.name})
            raise CapabilityMissing(f"{request.name} cannot be loaded; the worker's log says why") from None
        return worker_pb2.LoadModelResponse()

    async def UnloadModel(
        self, request: worker_pb2.UnloadModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> worker_pb2.UnloadModelResponse:
        await self._models.unload(request.name)
        return worker_pb2.UnloadModelResponse()

    async def CountTokens(
        self, request: worker_pb2.CountTokensRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> worker_pb2.CountTokensResponse:
        names = [model.name for model in self._describe().models]
        if request.model not in names:
            raise InvalidRequest(Violation("model", f"must be a loaded one: {', '.join(names)}"))
        counting = partial(self._models.count_tokens, request.model, request.texts)
        async with self._models.using(request.model):  # it stays loaded meanwhile
            counts = await asyncio.get_running_loop().run_in_executor(self._counting, counting)
        return worker_pb2.CountTokensResponse(counts=[worker_pb2.TokenCount(**vars(count)) for count in counts])

    def close(self) -> None:
        """Frees the thread that counts."""
        self._counting.shutdown(wait=False, cancel_futures=True)

    def _status(self) -> worker_pb2.WatchStatusResponse:
        memory = self._models.memory()
        return worker_pb2.WatchStatusResponse(
            slots=self._slots.total,
            free_slots=self._slots.free,
            waiting=self._slots.waiting,
            accepting=self._slots.accepting,
            loaded_models=[model.name for model in self._models.loaded],
            device_memory_used_mb=memory.used_mb,
            device_memory_total_mb=memory.total_mb,
        )
