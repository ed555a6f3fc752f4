"""The image worker when its caller goes, its time is up, its slot is taken, or it has to stop. Real server."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from atelier.contracts.errors import DeadlineExceeded, Draining, NoFreeSlot, from_rpc_error
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2, sdxl_pb2_grpc
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from sdxl_service.config import SdxlConfig
from sdxl_service.engine.interface import ImageRequest, Pictures
from sdxl_service.servicer import sdxl_worker
from shared.server import Server
from shared.worker.engine import OnChange, Step
from tests.kit.fake_engine import Script
from tests.kit.fake_sdxl_engine import Endless, FakeEngine, draw, request


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def server(engine: FakeEngine, tmp_path: Path) -> AsyncIterator[Server]:
    config = SdxlConfig(model="fake", assets=(tmp_path / "user-library").as_uri(), waiting=1, drain_seconds=5)
    server = Server(sdxl_worker(config, lambda on_change: engine), config)
    await server.start()
    yield server
    await server.stop()


@asynccontextmanager
async def stub_of(server: Server) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield sdxl_pb2_grpc.SdxlServiceStub(channel)


async def events(call: AsyncIterator[sdxl_pb2.GenerateResponse]) -> list[sdxl_pb2.GenerateResponse]:
    return [event async for event in call]


async def status(server: Server) -> worker_pb2.WatchStatusResponse:
    async with grpc.aio.insecure_channel(server.address) as channel:
        return await worker_pb2_grpc.WorkerServiceStub(channel).WatchStatus(worker_pb2.WatchStatusRequest()).read()


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def leave(server: Server, way: str) -> None:
    """Starts a job, reads its first event, and goes."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        timeout = 0.3 if way == "deadline" else None
        call = sdxl_pb2_grpc.SdxlServiceStub(channel).Generate(request(), timeout=timeout)
        await call.read()
        if way == "cancel":
            call.cancel()
        elif way == "deadline":
            assert await call.code() == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("way", ["cancel", "deadline", "disconnect"])
async def test_a_caller_that_goes_stops_the_engine_within_a_step(
    server: Server, engine: FakeEngine, tmp_path: Path, way: str
) -> None:
    engine.act = endless = Endless()
    await leave(server, way)
    left_at = time.monotonic()
    await endless.wait_for_end()
    assert time.monotonic() - left_at < 1
    stopped_at = endless.steps
    engine.act = draw
    async with stub_of(server) as stub:
        assert (await events(stub.Generate(request())))[-1].HasField("callback")  # slot free, engine usable
    assert endless.steps == stopped_at
    assert len(files_under(tmp_path)) == 3  # those of the second job


async def test_a_cancelled_job_leaves_no_file(server: Server, engine: FakeEngine, tmp_path: Path) -> None:
    engine.act = Endless()
    await leave(server, "cancel")
    await engine.act.wait_for_end()
    assert files_under(tmp_path) == []


async def test_a_deadline_holds_although_the_engine_hangs(server: Server, engine: FakeEngine) -> None:
    engine.act = hanging = Endless(hangs=True)
    async with stub_of(server) as stub:
        started = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await events(stub.Generate(request(), timeout=0.3))
        assert time.monotonic() - started < 1.5
        assert isinstance(from_rpc_error(raised.value), DeadlineExceeded)
        assert (await status(server)).free_slots == 0  # what the engine still holds is not given away
        hanging.wakes.set()
        await hanging.wait_for_end()
        engine.act = draw
        assert (await events(stub.Generate(request())))[-1].HasField("callback")


def holding(release: asyncio.Event) -> Script:
    """Draws once the test lets it."""

    async def act(wanted: ImageRequest) -> AsyncGenerator[Step | Pictures, None]:
        await release.wait()
        async for event in draw(wanted):
            yield event

    return act


async def test_jobs_wait_in_line_and_say_so_until_the_line_is_full(server: Server, engine: FakeEngine) -> None:
    release = asyncio.Event()
    engine.act = holding(release)
    async with stub_of(server) as stub:
        first = asyncio.create_task(events(stub.Generate(request())))
        while (await status(server)).free_slots:
            pass
        second = stub.Generate(request())
        waiting = await second.read()
        assert waiting.progress.phase == job_pb2.PHASE_WAITING
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await events(stub.Generate(request()))
        assert isinstance(from_rpc_error(raised.value), NoFreeSlot)
        assert "grpc-retry-pushback-ms" in dict(raised.value.trailing_metadata())
        release.set()
        assert (await first)[-1].HasField("callback")
        while (event := await second.read()) and not event.HasField("callback"):
            pass
        assert event.callback.status == job_pb2.JOB_STATUS_COMPLETED


async def test_a_waiting_job_whose_caller_goes_is_never_begun(server: Server, engine: FakeEngine) -> None:
    release = asyncio.Event()
    engine.act = holding(release)
    async with stub_of(server) as stub:
        first = asyncio.create_task(events(stub.Generate(request())))
        while (await status(server)).free_slots:
            pass
        second = stub.Generate(request(prompt="never"))
        await second.read()
        second.cancel()
        while (await status(server)).waiting:
            pass
        release.set()
        await first
    assert [asked.prompt for asked in engine.requests] == ["a lighthouse"]


async def test_draining_lets_the_running_job_end_and_takes_no_other(server: Server, engine: FakeEngine) -> None:
    release = asyncio.Event()
    engine.act = holding(release)
    async with stub_of(server) as stub:
        running = asyncio.create_task(events(stub.Generate(request())))
        while (await status(server)).free_slots:
            pass
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await events(stub.Generate(request()))
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        release.set()
        assert (await running)[-1].HasField("callback")
        await asyncio.wait_for(stopping, 3)


async def test_nothing_is_taken_while_the_model_loads(engine: FakeEngine, tmp_path: Path) -> None:
    begun, release = threading.Event(), threading.Event()

    def load(on_change: OnChange) -> FakeEngine:
        begun.set()
        release.wait(10)
        return engine

    config = SdxlConfig(model="fake", assets=tmp_path.as_uri())
    server = Server(sdxl_worker(config, load), config)
    starting = asyncio.create_task(server.start())
    await asyncio.to_thread(begun.wait, 5)
    async with stub_of(server) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await events(stub.Generate(request()))
        assert isinstance(from_rpc_error(raised.value), Draining)
        assert (await status(server)).accepting is False
        release.set()
        await starting
        assert (await events(stub.Generate(request())))[-1].HasField("callback")
    await server.stop()
