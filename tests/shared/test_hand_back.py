"""A server that stops: what it cannot finish is handed back as Draining, soon, and with nothing left behind."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from atelier.contracts.errors import Draining, from_rpc_error
from atelier.pb.chat.v1 import chat_pb2_grpc
from atelier.pb.sdxl.v1 import sdxl_pb2_grpc
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from chat_service.config import ChatConfig
from chat_service.servicer import chat_worker
from sdxl_service.config import SdxlConfig
from sdxl_service.servicer import sdxl_worker
from shared.config import ServiceConfig
from shared.interceptors import Calls
from shared.server import Server, Service
from tests.chat_service.test_servicer import complete, read_to_first_text
from tests.kit import fake_chat_engine as chatting
from tests.kit import fake_sdxl_engine as drawing
from tests.kit.stand_in import Context, StandIn

# Of the time that a drain may take: short, and so long that nobody waits for its end.
SHORT, LONG = 0.2, 60


@asynccontextmanager
async def started(service: Service, config: ServiceConfig) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    server = Server(service, config)
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield server, channel
        server.force_stop()
        await server.stop()


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "user-library"


def plain(library: Path, drain_seconds: float) -> ServiceConfig:
    return ServiceConfig(assets=library.as_uri(), drain_seconds=drain_seconds)


async def error_of(call: Any) -> Exception:
    """The error that a stream ends with, as the edge understands it."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        [event async for event in call]
    return from_rpc_error(raised.value)


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_call_that_takes_too_long_is_handed_back(library: Path) -> None:
    running, ended = asyncio.Event(), asyncio.Event()

    async def unary(request: Any, context: Context) -> None:
        running.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with started(StandIn(unary), plain(library, SHORT)) as (server, channel):
        call = worker_pb2_grpc.WorkerServiceStub(channel).LoadModel(worker_pb2.LoadModelRequest(name="model"))
        await running.wait()
        began = time.monotonic()
        await server.stop()
        assert SHORT <= time.monotonic() - began < 5
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert isinstance(from_rpc_error(raised.value), Draining)
        assert ended.is_set()


async def test_hurrying_hands_back_at_once(library: Path) -> None:
    async def stream(request: Any, context: Context) -> AsyncIterator[worker_pb2.WatchStatusResponse]:
        yield worker_pb2.WatchStatusResponse()
        await asyncio.sleep(60)

    async with started(StandIn(stream=stream), plain(library, LONG)) as (server, channel):
        call = worker_pb2_grpc.WorkerServiceStub(channel).WatchStatus(worker_pb2.WatchStatusRequest())
        await anext(aiter(call))
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0.1)
        assert not stopping.done()
        server.force_stop()
        assert isinstance(await error_of(call), Draining)
        await asyncio.wait_for(stopping, 5)


async def test_a_caller_that_cancels_is_not_told_that_the_server_drains(library: Path) -> None:
    errors: list[BaseException] = []
    running = asyncio.Event()

    async def unary(request: Any, context: Context) -> None:
        running.set()
        try:
            await asyncio.sleep(60)
        except BaseException as error:
            errors.append(error)
            raise

    async with started(StandIn(unary), plain(library, LONG)) as (_, channel):
        call = worker_pb2_grpc.WorkerServiceStub(channel).LoadModel(worker_pb2.LoadModelRequest(name="model"))
        await running.wait()
        call.cancel()
        async with asyncio.timeout(5):
            while not errors:
                await asyncio.sleep(0.01)
        assert isinstance(errors[0], asyncio.CancelledError)


async def test_an_image_that_cannot_be_finished_is_handed_back_its_engine_stopped_and_no_file_left(
    library: Path,
) -> None:
    engine, endless = drawing.FakeEngine(), drawing.Endless()
    engine.act = endless
    config = SdxlConfig(model="fake", assets=library.as_uri(), drain_seconds=SHORT, waiting=1)
    async with started(sdxl_worker(config, lambda on_change: engine), config) as (server, channel):
        stub = sdxl_pb2_grpc.SdxlServiceStub(channel)
        running, waiting = stub.Generate(drawing.request()), stub.Generate(drawing.request())
        await anext(aiter(running))
        await anext(aiter(waiting))
        stopping = asyncio.create_task(server.stop())
        assert isinstance(await error_of(running), Draining)
        assert isinstance(await error_of(waiting), Draining)
        await asyncio.wait_for(stopping, 5)
        assert endless.ended.is_set()
        assert len(engine.requests) == 1
        assert files_under(library) == []


async def test_an_image_that_can_be_finished_is_finished(library: Path) -> None:
    engine = drawing.FakeEngine()

    async def draw(request: Any) -> Any:
        yield drawing.Step(drawing.Phase.ENCODING)
        await asyncio.sleep(0.5)
        async for event in drawing.draw(request):
            yield event

    engine.act = draw
    config = SdxlConfig(model="fake", assets=library.as_uri(), drain_seconds=LONG)
    async with started(sdxl_worker(config, lambda on_change: engine), config) as (server, channel):
        call = sdxl_pb2_grpc.SdxlServiceStub(channel).Generate(drawing.request())
        await anext(aiter(call))
        stopping = asyncio.create_task(server.stop())
        assert [event async for event in call][-1].HasField("callback")
        await asyncio.wait_for(stopping, 5)


async def test_an_answer_that_cannot_be_finished_is_handed_back_and_its_engine_stopped(library: Path) -> None:
    engine = chatting.FakeEngine(script=chatting.hangs)
    config = ChatConfig(model="unused", assets=library.as_uri(), drain_seconds=SHORT)
    async with started(chat_worker(config, lambda on_change: engine), config) as (server, channel):
        call = chat_pb2_grpc.ChatServiceStub(channel).Generate(complete())
        await read_to_first_text(call)
        stopping = asyncio.create_task(server.stop())
        assert isinstance(await error_of(call), Draining)
        await asyncio.wait_for(stopping, 5)
        assert engine.running == 0
        assert engine.closed


async def test_a_health_watch_hears_of_the_drain_and_does_not_hold_it(library: Path) -> None:
    async with started(StandIn(), plain(library, LONG)) as (server, channel):
        stub = health_pb2_grpc.HealthStub(channel)
        served = stub.Watch(health_pb2.HealthCheckRequest(service=StandIn.names[0]))
        unknown = stub.Watch(health_pb2.HealthCheckRequest(service="nobody"))
        assert (await served.read()).status == health_pb2.HealthCheckResponse.SERVING
        await unknown.read()
        await asyncio.wait_for(server.stop(), 5)
        assert (await served.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await served.read() is grpc.aio.EOF
        assert await unknown.read() is grpc.aio.EOF


PROGRAM = """
import asyncio
from shared import config, server
from atelier.pb.worker.v1 import worker_pb2
from tests.kit.stand_in import StandIn

async def endless(request, context):
    while True:
        yield worker_pb2.WatchStatusResponse()
        await asyncio.sleep(0.1)

server.run(StandIn(stream=endless), config.load(config.ServiceConfig, "sample_service"))
"""


async def test_a_second_signal_hurries(repository: Path, library: Path, tmp_path: Path) -> None:
    file = tmp_path / "address"
    options = [f"--assets={library.as_uri()}", f"--address-file={file}", f"--drain-seconds={LONG}"]
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, *options, cwd=repository)
    try:
        async with asyncio.timeout(30):
            while not file.exists():
                await asyncio.sleep(0.05)
        async with grpc.aio.insecure_channel(file.read_text()) as channel:
            call = worker_pb2_grpc.WorkerServiceStub(channel).WatchStatus(worker_pb2.WatchStatusRequest())
            await anext(aiter(call))
            child.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            await anext(aiter(call))
            child.send_signal(signal.SIGTERM)
            assert isinstance(await error_of(call), Draining)
        assert await asyncio.wait_for(child.wait(), 10) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()


async def test_a_call_is_not_cancelled_while_a_response_goes_out() -> None:
    # A task that is cancelled while gRPC sends for it leaves the call open, and its caller waiting.
    calls, sent = Calls(), asyncio.Event()

    async def handler() -> None:
        with calls.one() as call:
            call.sending()
            await asyncio.sleep(0.05)
            sent.set()
            call.sent()
            await asyncio.sleep(60)

    task = asyncio.create_task(handler())
    await asyncio.sleep(0)
    calls.hand_back()
    with pytest.raises(Draining):
        await asyncio.wait_for(task, 5)
    assert sent.is_set()
