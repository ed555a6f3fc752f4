"""What every worker tells the edge: what it is, its pushed status, and how long texts are. Real server, real stub."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import grpc
import pytest

from atelier.contracts.errors import CapabilityMissing, Draining, InvalidRequest, ModelUnusable, from_rpc_error
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from shared.config import ModelConfig
from shared.worker.description import WorkerConfig
from shared.worker.engine import Model
from shared.worker.models import Models
from shared.worker.service import WorkerServicer
from shared.worker.slots import Slots
from shared.worker.tokens import TokenCount
from tests.kit.counting import count_words
from tests.kit.fake_engine import FakeEngine
from tests.kit.servers import Serve
from tests.kit.stand_in import StandIn

MODEL = Model("", "tiny-sdxl", ("compel",), size_multiple=8, min_side=64, max_pixels=1 << 20)


class Worker(StandIn):
    """Serves the real WorkerServicer over a fake engine, loaded by `start`."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(2, 1)
        self.engine = FakeEngine(MODEL, self.nothing, self.count)
        self.models = Models([ModelConfig("sdxl", "nowhere")], lambda on_change: self.engine)
        self.servicer = WorkerServicer(self.slots, self.models, self.describe)
        self.may_count = threading.Event()
        self.may_count.set()

    async def start(self) -> None:
        await self.models.start(lambda works: None)

    def describe(self) -> WorkerConfig:
        if not self.models.loaded:
            raise Draining("not loaded")
        job_types = ("sdxl_image_fast", "sdxl_image_high")
        return WorkerConfig("sdxl_worker_001", "sdxl", job_types, self.models.loaded, 2, "cpu", "float32")

    async def nothing(self, request: object) -> AsyncGenerator[object, None]:
        yield request

    def count(self, model: Model, texts: Sequence[str]) -> list[TokenCount]:
        assert self.may_count.wait(10)
        return [count_words(model.name, texts, limit=4)]

    def register(self, server: grpc.aio.Server) -> None:
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(self.servicer, server)

    def drain(self) -> None:
        self.slots.drain()


@pytest.fixture
async def worker(serve: Serve) -> Any:
    """A worker and its stub, as `worker.stub`."""
    worker: Any = Worker()
    worker.stub = worker_pb2_grpc.WorkerServiceStub(await serve(worker))
    return worker


async def test_a_worker_describes_itself_once_it_has_loaded(worker: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await worker.stub.Describe(worker_pb2.DescribeRequest())
    assert isinstance(from_rpc_error(refused.value), Draining)
    await worker.start()
    described = (await worker.stub.Describe(worker_pb2.DescribeRequest())).worker
    assert (described.worker_id, described.worker_type, described.slots) == ("sdxl_worker_001", "sdxl", 2)
    assert list(described.job_types) == ["sdxl_image_fast", "sdxl_image_high"]
    [model] = described.models
    assert (model.name, model.real_name, list(model.capabilities)) == ("sdxl", "tiny-sdxl", ["compel"])
    assert (model.size_multiple, model.min_side, model.max_pixels) == (8, 64, 1 << 20)
    assert described.version


async def test_every_change_is_pushed_at_once(worker: Any) -> None:
    statuses = worker.stub.WatchStatus(worker_pb2.WatchStatusRequest())

    async def next_status() -> tuple[int, bool, list[str]]:
        status = await asyncio.wait_for(statuses.read(), 1)
        return status.free_slots, status.accepting, list(status.loaded_models)

    assert await next_status() == (2, False, [])
    await worker.start()
    worker.slots.accept()
    assert await next_status() == (2, True, ["sdxl"])
    async with worker.slots.hold():
        while (await next_status())[0] != 1:  # entering is two changes, and only the last counts
            pass
    assert await next_status() == (2, True, ["sdxl"])
    worker.slots.drain()
    assert await next_status() == (2, False, ["sdxl"])
    assert await statuses.read() is grpc.aio.EOF


async def test_the_memory_of_the_device_is_reported(worker: Any) -> None:
    await worker.start()
    status = await worker.stub.WatchStatus(worker_pb2.WatchStatusRequest()).read()
    assert (status.device_memory_used_mb, status.device_memory_total_mb, status.slots) == (7, 80, 2)


async def test_a_quiet_worker_still_shows_that_it_lives(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.worker.service.HEARTBEAT_SECONDS", 0.05)
    statuses = worker.stub.WatchStatus(worker_pb2.WatchStatusRequest())
    for _ in range(4):
        await asyncio.wait_for(statuses.read(), 1)


async def test_a_model_is_unloaded_and_loaded_on_demand(worker: Any) -> None:
    await worker.start()
    for _ in range(2):
        await worker.stub.UnloadModel(worker_pb2.UnloadModelRequest(name="sdxl"))
        status = await worker.stub.WatchStatus(worker_pb2.WatchStatusRequest()).read()
        assert list(status.loaded_models) == []
    for _ in range(2):
        await worker.stub.LoadModel(worker_pb2.LoadModelRequest(name="sdxl"))
        described = (await worker.stub.Describe(worker_pb2.DescribeRequest())).worker
        assert [model.name for model in described.models] == ["sdxl"]


@pytest.mark.parametrize("rpc", ["LoadModel", "UnloadModel"])
async def test_a_model_that_is_not_configured_is_refused_by_name(worker: Any, rpc: str) -> None:
    await worker.start()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(worker.stub, rpc)(getattr(worker_pb2, f"{rpc}Request")(name="flux"))
    error = from_rpc_error(refused.value)
    assert isinstance(error, InvalidRequest)
    assert str(error) == "name: must be one of sdxl"


async def test_a_model_that_cannot_be_loaded_is_a_missing_capability_and_its_path_is_not_told(
    worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worker.start()
    await worker.stub.UnloadModel(worker_pb2.UnloadModelRequest(name="sdxl"))

    async def fail(config: ModelConfig) -> None:
        raise ModelUnusable("/secret/place: no such folder")

    monkeypatch.setattr(worker.engine, "load", fail)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await worker.stub.LoadModel(worker_pb2.LoadModelRequest(name="sdxl"))
    error = from_rpc_error(refused.value)
    assert isinstance(error, CapabilityMissing)
    assert "/secret" not in str(error)


def counting(*texts: str, model: str = "sdxl") -> worker_pb2.CountTokensRequest:
    return worker_pb2.CountTokensRequest(model=model, texts=texts)


async def test_tokens_are_counted_text_by_text(worker: Any) -> None:
    await worker.start()
    (count,) = (await worker.stub.CountTokens(counting("a red boat", "", "a b c d e"))).counts
    assert (count.tokenizer, list(count.tokens), count.limit) == ("sdxl", [3, 0, 5], 4)
    assert list(count.read_characters) == [10, 0, 7]


async def test_nothing_is_counted_for_a_model_that_is_not_loaded(worker: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await worker.stub.CountTokens(counting("x"))
    assert isinstance(from_rpc_error(refused.value), Draining)
    await worker.start()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await worker.stub.CountTokens(counting("x", model="flux"))
    error = from_rpc_error(refused.value)
    assert isinstance(error, InvalidRequest)
    assert str(error) == "model: must be a loaded one: sdxl"


@pytest.fixture
def held(worker: Any) -> Iterator[None]:
    """Whoever counts, waits."""
    worker.may_count.clear()
    yield
    worker.may_count.set()


@pytest.mark.usefixtures("held")
async def test_a_worker_answers_others_while_it_counts(worker: Any) -> None:
    await worker.start()
    call = worker.stub.CountTokens(counting("x"))
    await worker.stub.Describe(worker_pb2.DescribeRequest())
    assert not call.done()
    worker.may_count.set()
    assert (await call).counts


async def test_tokens_are_counted_while_every_slot_is_taken(worker: Any) -> None:
    await worker.start()
    worker.slots.accept()
    async with worker.slots.hold(), worker.slots.hold():
        assert (await worker.stub.CountTokens(counting("x"))).counts
