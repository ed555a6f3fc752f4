"""What workers say of themselves is believed within bounds only."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from atelier.contracts.errors import InvalidRequest
from atelier.pb.worker.v1 import worker_pb2_grpc
from atelier.pb.worker.v1.worker_pb2 import (
    DescribeRequest,
    DescribeResponse,
    Model,
    WatchStatusRequest,
    WatchStatusResponse,
    WorkerDescription,
)
from edge_service.fleet import Fleet
from shared.validation import check
from tests.kit.workers import status, until


def described(**claims: Any) -> WorkerDescription:
    sound: dict[str, Any] = {
        "worker_id": "worker_001",
        "worker_type": "chat",
        "slots": 4,
        "models": [Model(name="model")],
    }
    return WorkerDescription(**{**sound, **claims})


class Claimant(worker_pb2_grpc.WorkerServiceServicer):
    """A worker that says what it is told to."""

    def __init__(self, description: WorkerDescription) -> None:
        self.description, self.statuses, self.asked = description, asyncio.Queue[WatchStatusResponse](), 0

    async def Describe(self, request: DescribeRequest, context: Any) -> DescribeResponse:
        self.asked += 1
        return DescribeResponse(worker=self.description)

    async def WatchStatus(self, request: WatchStatusRequest, context: Any) -> AsyncIterator[WatchStatusResponse]:
        while True:
            yield await self.statuses.get()


@contextlib.asynccontextmanager
async def followed(claimant: Claimant) -> AsyncIterator[Fleet]:
    server = grpc.aio.server()
    worker_pb2_grpc.add_WorkerServiceServicer_to_server(claimant, server)
    fleet = Fleet([f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"])
    await server.start()
    fleet.start()
    try:
        yield fleet
    finally:
        await fleet.close()
        await server.stop(0)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        (described(worker_id=""), "worker_id"),
        (described(worker_id="a\0b"), "worker_id"),
        (described(worker_id="w" * 101), "worker_id"),
        (described(worker_type=""), "worker_type"),
        (described(slots=1025), "slots"),
        (described(models=[Model(name=str(number)) for number in range(65)]), "models"),
        (described(models=[Model(name="m" * 101)]), "models[0].name"),
        (described(models=[Model(name="a\0b")]), "models[0].name"),
        (described(models=[Model(name="model", capabilities=["a\0b"])]), "models[0].capabilities[0]"),
        (described(version="1" * 101), "version"),
        (WatchStatusResponse(slots=1025), "slots"),
        (WatchStatusResponse(free_slots=1_000_001), "free_slots"),
        (WatchStatusResponse(waiting=1_000_001), "waiting"),
        (WatchStatusResponse(loaded_models=["model"] * 65), "loaded_models"),
    ],
)
def test_a_claim_beyond_its_bounds_is_refused(said: WorkerDescription | WatchStatusResponse, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check(said)
    assert [violation.field for violation in refused.value.violations] == [field]


def test_a_claim_at_its_bounds_is_believed() -> None:
    models = [Model(name="m" * 100, capabilities=["c" * 100] * 64)] * 64
    check(described(worker_id="w" * 100, slots=1024, models=models))
    check(WatchStatusResponse(slots=1024, free_slots=1_000_000, waiting=1_000_000, loaded_models=["model"] * 64))
    check(WatchStatusResponse())


def test_a_list_of_millions_inside_a_list_is_counted_before_it_is_read() -> None:
    with pytest.raises(InvalidRequest) as refused:
        check(described(models=[Model(name="model", capabilities=[""] * 1_000_000)]))
    [violation] = refused.value.violations
    assert violation.field == "models[0].capabilities"
    assert violation.description == "must contain no more than 64 items, got 1000000"


async def test_a_worker_with_an_impossible_description_gets_nothing(caplog: pytest.LogCaptureFixture) -> None:
    claimant = Claimant(described(worker_id="", slots=2**32 - 1))
    claimant.statuses.put_nowait(status(4, 4))
    async with followed(claimant) as fleet:
        await until(lambda: claimant.asked >= 2)  # it is asked again now and then: it may be another by then
        assert (fleet.connected(), fleet.candidates("chat"), fleet.workers[0].state) == ([], [], "lost")
    assert refusals(caplog)[0] == "worker_id, slots"


async def test_a_worker_with_an_impossible_status_is_lost_and_ejected(caplog: pytest.LogCaptureFixture) -> None:
    claimant = Claimant(described())
    claimant.statuses.put_nowait(status(4, 4))
    async with followed(claimant) as fleet:
        await until(lambda: fleet.choose("chat"))
        claimant.statuses.put_nowait(WatchStatusResponse(slots=2**32 - 1, free_slots=2**32 - 1, accepting=True))
        await until(lambda: not fleet.connected())
        [worker] = fleet.workers
        assert (worker.message().failures, worker.breaker.state, fleet.slots("chat")) == (1, "ejected", 0)
    assert refusals(caplog) == ["slots, free_slots"]  # it was not lost for its silence


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The fields that the log names, for each time that a worker was refused."""
    return [vars(record)["fields"] for record in caplog.records if "invalid" in record.getMessage()]
