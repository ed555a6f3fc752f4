"""A service whose handlers a test writes: one unary RPC, one stream, and a load it can delay or break."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from shared.interceptors import Guard

Context = grpc.aio.ServicerContext


class StandIn(worker_pb2_grpc.WorkerServiceServicer):
    """Serves WorkerService: `unary` answers LoadModel, `stream` answers WatchStatus, `load` runs at start."""

    names = ("atelier.worker.v1.WorkerService",)

    def __init__(
        self,
        unary: Callable[[Any, Context], Awaitable[Any]] | None = None,
        stream: Callable[[Any, Context], AsyncIterator[Any]] | None = None,
        load: Callable[[], Awaitable[None]] | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.unary, self.stream, self.load_model, self.guard = unary, stream, load, guard
        self.drained = self.closed = False

    async def LoadModel(self, request: Any, context: Context) -> worker_pb2.LoadModelResponse:
        if self.unary:
            await self.unary(request, context)
        return worker_pb2.LoadModelResponse()

    async def WatchStatus(self, request: Any, context: Context) -> AsyncIterator[worker_pb2.WatchStatusResponse]:
        assert self.stream
        async for response in self.stream(request, context):
            yield response

    def register(self, server: grpc.aio.Server) -> None:
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(self, server)

    async def load(self) -> None:
        if self.load_model:
            await self.load_model()

    def drain(self) -> None:
        self.drained = True

    async def close(self) -> None:
        self.closed = True
