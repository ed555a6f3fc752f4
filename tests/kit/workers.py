"""Workers for the tests of the fleet: known ones without a server, and real ones in this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from atelier.pb.worker.v1 import worker_pb2
from chat_service.config import ChatConfig
from chat_service.servicer import chat_worker
from edge_service.fleet import Worker
from shared.server import Server
from tests.kit.fake_chat_engine import FakeEngine


def status(slots: int, free: int, accepting: bool = True, waiting: int = 0) -> worker_pb2.WatchStatusResponse:
    return worker_pb2.WatchStatusResponse(
        slots=slots, free_slots=free, accepting=accepting, waiting=waiting, loaded_models=["model"]
    )


def known(
    slots: int = 4,
    free: int = 4,
    in_flight: int = 0,
    accepting: bool = True,
    worker_type: str = "sdxl",
    speed: float | None = None,
) -> Worker:
    """A worker that just said how busy it is."""
    worker = Worker("127.0.0.1:1", lambda _: speed)
    worker.in_flight = in_flight
    model = worker_pb2.Model(name="model", capabilities=["compel"])
    description = worker_pb2.WorkerDescription(worker_type=worker_type, slots=slots, models=[model])
    worker.heard(description, status(slots, free, accepting))
    return worker


@contextlib.asynccontextmanager
async def serving(
    listen: str = "127.0.0.1:0", worker_id: str = "chat_worker_001", engine: FakeEngine | None = None, slots: int = 1
) -> AsyncIterator[Server]:
    """A chat worker in this process."""
    executing = engine or FakeEngine()
    config = ChatConfig(model="none", listen=listen, worker_id=worker_id, slots=slots, drain_seconds=0)
    server = Server(chat_worker(config, lambda _: executing), config)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
