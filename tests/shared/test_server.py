"""A service from start to drain: health, reflection, one port for one server, and how it stops."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from shared import server as server_module
from shared.config import ServiceConfig
from shared.server import Server, write_address
from tests.kit.servers import Serve
from tests.kit.stand_in import Context, StandIn

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
REQUEST = worker_pb2.LoadModelRequest(name="model")


@pytest.fixture
def config(tmp_path: Path) -> ServiceConfig:
    return ServiceConfig(assets=tmp_path.as_uri(), address_file=str(tmp_path / "address"), drain_seconds=5)


async def health(channel: grpc.aio.Channel, service: str = "") -> int:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return int(answer.status)


async def test_health_is_serving_only_after_the_model_has_loaded(config: ServiceConfig) -> None:
    loading, loaded = asyncio.Event(), asyncio.Event()

    async def load() -> None:
        loading.set()
        await loaded.wait()

    server = Server(StandIn(load=load), config)
    starting = asyncio.create_task(server.start())
    await loading.wait()
    async with grpc.aio.insecure_channel(server.address) as channel:
        assert [await health(channel, name) for name in ("", StandIn.names[0])] == [NOT_SERVING] * 2
        loaded.set()
        await starting
        assert [await health(channel, name) for name in ("", StandIn.names[0])] == [SERVING] * 2
    await server.stop()


async def test_reflection_names_the_service(serve: Serve) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(await serve(StandIn()))
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = {service.name async for answer in call for service in answer.list_services_response.service}
    assert names >= {"atelier.worker.v1.WorkerService", "grpc.health.v1.Health"}


def test_the_address_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "address").write_text("127.0.0.1:1")
    with (tmp_path / "address").open() as reader:
        write_address(str(tmp_path / "address"), "127.0.0.1:2")
        assert reader.read() == "127.0.0.1:1"
    assert (tmp_path / "address").read_text() == "127.0.0.1:2"
    assert [path.name for path in tmp_path.iterdir()] == ["address"]


async def test_two_servers_never_share_a_port(config: ServiceConfig) -> None:
    first = Server(StandIn(), config)
    await first.start()
    second = Server(StandIn(), config.model_copy(update={"listen": first.address}))
    with pytest.raises(SystemExit, match=f"cannot listen on {first.address}"):
        await second.start()
    await second.stop()
    await first.stop()


async def test_draining_lets_a_running_call_end_and_takes_no_new_one(config: ServiceConfig) -> None:
    running, until = asyncio.Event(), asyncio.Event()

    async def unary(request: Any, context: Context) -> None:
        running.set()
        await until.wait()

    service = StandIn(unary)
    server = Server(service, config)
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = worker_pb2_grpc.WorkerServiceStub(channel)
        call = stub.LoadModel(REQUEST)
        await running.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0.1)
        assert service.drained
        assert not service.closed
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.LoadModel(REQUEST)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        until.set()
        assert await call == worker_pb2.LoadModelResponse()
        await asyncio.wait_for(stopping, 2)
        assert service.closed


async def test_draining_ends_what_takes_longer_than_it_may(config: ServiceConfig) -> None:
    running, ended = asyncio.Event(), asyncio.Event()

    async def unary(request: Any, context: Context) -> None:
        running.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    server = Server(StandIn(unary), config.model_copy(update={"drain_seconds": 0.2}))
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = worker_pb2_grpc.WorkerServiceStub(channel).LoadModel(REQUEST)
        await running.wait()
        await asyncio.wait_for(server.stop(), 2)
        assert ended.is_set()
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await call


PROCESS = """
import asyncio, sys
from atelier.contracts import errors
from shared import config, server
from tests.kit.stand_in import StandIn

async def {name}():
    {body}

server.run(StandIn(load={name}), config.load(config.ServiceConfig, "sample_service"))
"""


@contextmanager
def process(repository: Path, config: ServiceConfig, body: str) -> Iterator["subprocess.Popen[str]"]:
    """A service in a process of its own, as `__main__` runs it; `body` is what its `load` does."""
    code = PROCESS.format(name="load", body=body)
    options = [f"--assets={config.assets}", f"--address-file={config.address_file}"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *options], cwd=repository, stderr=subprocess.PIPE, text=True
    ) as child:
        yield child
        child.kill()


def lines_of(child: "subprocess.Popen[str]") -> list[str]:
    assert child.stderr
    return [line for line in child.stderr.read().splitlines() if not line.startswith("{")]


def test_a_model_that_cannot_be_used_ends_the_process_with_one_line(repository: Path, config: ServiceConfig) -> None:
    with process(repository, config, "raise errors.ModelUnusable('no model in /nowhere')") as child:
        assert child.wait(20) == 1
        assert lines_of(child) == ["no model in /nowhere"]


def test_a_mistake_of_ours_while_loading_ends_the_process_with_its_traceback(
    repository: Path, config: ServiceConfig
) -> None:
    with process(repository, config, "raise ZeroDivisionError") as child:
        assert child.wait(20) == 1
        assert "ZeroDivisionError" in lines_of(child)[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("body", ["pass", "await asyncio.sleep(60)"], ids=["serving", "loading"])
def test_a_signal_ends_the_process_cleanly(repository: Path, config: ServiceConfig, number: int, body: str) -> None:
    with process(repository, config, body) as child:
        while not Path(config.address_file).exists():
            assert child.poll() is None
        child.send_signal(number)
        assert child.wait(10) == 0
        assert lines_of(child) == []


async def test_a_call_whose_end_is_lost_keeps_no_service_from_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "HAND_BACK_SECONDS", 0.1)
    monkeypatch.setattr(server_module, "LOST_CALL_SECONDS", 0.1)
    service = Closing()
    server = Server(service, ServiceConfig(assets=tmp_path.as_uri(), drain_seconds=0))
    await server.start()
    stop = server._server.stop

    async def never(grace: float | None) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(server._server, "stop", never)
    async with asyncio.timeout(10):
        await server.stop()
    assert service.closed
    await stop(None)


class Closing:
    """A service that serves nothing and says whether it was closed."""

    names: tuple[str, ...] = ()
    guard = None
    closed = False

    def register(self, server: grpc.aio.Server) -> None: ...

    async def load(self) -> None: ...

    def drain(self) -> None: ...

    async def close(self) -> None:
        self.closed = True


HANGS = """
import asyncio, os, signal, sys
from shared import server
from shared.config import ServiceConfig

server.HAND_BACK_SECONDS = server.CLOSE_SECONDS = 0.2

class Hangs:
    names, guard = (), None
    def register(self, server): ...
    async def load(self): asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
    def drain(self): ...
    async def close(self): await asyncio.Event().wait()

server.run(Hangs(), ServiceConfig(drain_seconds=0, assets=sys.argv[1]))
"""


def test_a_service_that_cannot_end_is_ended_and_says_where_it_stood(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HANGS, tmp_path.as_uri()]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert "did not stop in time" in ended.stdout + ended.stderr
    assert "Hangs.close" in ended.stdout + ended.stderr
