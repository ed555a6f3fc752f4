"""Which worker gets the next job, and how the fleet keeps up with workers that come, restart and freeze."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from prometheus_client import REGISTRY

from atelier.contracts.errors import Draining, EngineFailed, WorkerLost
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from edge_service.fleet import Fleet, Placement, Worker
from edge_service.fleet import worker as worker_room
from tests.kit.frozen import process
from tests.kit.workers import known, serving, status, until


def of(*workers: Worker) -> Fleet:
    fleet = Fleet([])
    fleet.workers = list(workers)
    return fleet


def workers(fleet: Fleet) -> list[Worker]:
    """The workers that can take an image, the best first."""
    return [placement.worker for placement in fleet.candidates("sdxl")]


def chosen(fleet: Fleet, *needs: str) -> Worker | None:
    placement = fleet.choose("sdxl", needs)
    return placement and placement.worker


@contextlib.asynccontextmanager
async def following(*addresses: str):
    fleet = Fleet(addresses)
    fleet.start()
    try:
        yield fleet
    finally:
        await fleet.close()


def test_a_fleet_made_before_the_event_loop_runs_finds_its_workers():
    # As `python -m edge_service` makes it: a channel made then would belong to no loop, and every call would fail.
    async def connect(fleet: Fleet) -> bool:
        async with serving() as server:
            fleet.workers[0].address = server.address
            fleet.start()
            with contextlib.suppress(TimeoutError):
                await until(fleet.connected, 5)
            found = bool(fleet.connected())
            await fleet.close()
            return found

    assert asyncio.run(connect(Fleet(["127.0.0.1:1"])))


def test_a_slot_that_was_just_given_away_is_not_free_though_the_status_says_so():
    worker = known(slots=1, free=1)
    assert worker.free == 1
    with worker.occupied():
        assert worker.free == 0


def test_a_fleet_has_what_a_busy_worker_offers_but_not_what_a_draining_one_does():
    assert of(known(slots=1, free=0)).has("sdxl", ["model", "compel"])
    assert not of(known()).has("sdxl", ["reference_style"])
    assert not of(known()).has("chat", ["model"])
    assert not of(known(accepting=False)).has("sdxl", ["model"])


@pytest.mark.parametrize(
    ("why", "level"), [(Draining("it stops"), "INFO"), (WorkerLost("it is gone"), "WARNING")], ids=["stops", "dies"]
)
async def test_a_worker_that_stops_is_nothing_to_warn_of(why, level, caplog, monkeypatch):
    worker = known()

    async def watched(notify):
        return why

    monkeypatch.setattr(worker, "_watched", watched)
    caplog.set_level("INFO", "edge_service")
    following_it = asyncio.create_task(worker.follow(lambda: None))
    await until(lambda: worker.status is None)
    following_it.cancel()
    [record] = [record for record in caplog.records if record.message == "worker lost"]
    assert record.levelname == level


def test_a_job_is_not_counted_twice_when_the_status_knows_it_too():
    assert known(slots=4, free=3, in_flight=1).free == 3


def test_jobs_of_other_replicas_count():
    assert known(slots=4, free=1, in_flight=1).free == 1


def test_jobs_of_other_replicas_still_count_after_more_of_ours_were_sent():
    worker = known(slots=4, free=2)
    with worker.occupied(), worker.occupied():
        assert worker.free == 0


def test_a_slot_is_free_at_once_when_a_job_of_ours_ends():
    worker = known(slots=4, free=1, in_flight=2)
    worker.in_flight = 1
    assert worker.free == 2


def test_jobs_that_wait_inside_the_worker_take_the_next_slots():
    worker = known()
    assert worker.description
    worker.heard(worker.description, status(slots=2, free=1, waiting=1))
    assert worker.free == 0


def test_a_worker_that_drains_leaves_or_is_lost_is_not_chosen():
    lost, leaving = known(), known()
    lost.status, leaving.leaving = None, True
    assert of(known(accepting=False), lost, leaving).choose("sdxl") is None


def test_the_freest_worker_of_the_type_is_chosen():
    fleet = of(known(4, 1), known(4, 3), known(8, 8, worker_type="wan"))
    assert chosen(fleet) is fleet.workers[1]


def test_the_fastest_comes_first_then_the_freest_and_an_unmeasured_one_counts_as_average():
    slow, average, fast, freer = (
        known(free=4, speed=0.5),
        known(free=3, speed=None),
        known(free=1, speed=1.5),
        known(free=4, speed=1.02),
    )
    assert workers(of(slow, average, fast, freer)) == [fast, freer, average, slow]


def test_what_was_weighed_is_told_with_the_worker_that_is_chosen():
    best = known(slots=4, free=2, speed=1.104)
    fleet = of(best, known(slots=4, free=1), known(slots=4, free=0), known(8, 8, speed=0.9))
    said = "free slots 2 of 4, speed 1.10, breaker trusted, resident models model; 2 other workers were considered"
    assert fleet.choose("sdxl", ["compel"]) == Placement(best, said)


def test_a_choice_keeps_what_was_weighed_for_it_when_the_worker_is_chosen_again():
    """A chat turn waits for the database between its choice and its lease; jobs may get the same worker meanwhile."""
    fleet = of(known(slots=4, free=2))
    first = fleet.choose("sdxl")
    assert first is not None
    with first.worker.occupied():
        second = fleet.choose("sdxl")
        assert second is not None
    assert first.worker is second.worker
    assert (first.routing[:19], second.routing[:19]) == ("free slots 2 of 4, ", "free slots 1 of 4, ")


def test_an_unmeasured_worker_on_trial_that_is_alone_says_so():
    trial = known()
    trial.failed(WorkerLost("gone"))
    trial.breaker._until = 0
    placement = of(trial).choose("sdxl")
    assert placement is not None
    assert placement.routing == (
        "free slots 1 of 4, speed not measured, breaker half_open, resident models model;"
        " no other worker was considered"
    )


def test_a_worker_on_trial_comes_last_and_gets_one_job():
    trial = known(speed=9)
    trial.failed(WorkerLost("gone"))
    trial.breaker._until = 0
    trusted = known()
    assert workers(of(trial, trusted)) == [trusted, trial]
    assert trial.free == 1
    with trial.occupied():
        assert trial.free == 0
    trial.succeeded()
    assert trial.free == 4


def test_an_ejected_worker_gets_nothing():
    worker = known()
    worker.failed(WorkerLost("gone"))
    assert of(worker, known(worker_type="wan")).candidates("sdxl") == []


def test_the_last_of_a_type_is_tried_again_soon_however_often_it_failed():
    # Otherwise the queue of the type would stand still for a minute.
    now = 0.0
    worker = known()
    worker.breaker._clock = lambda: now
    fleet = of(worker, known(worker_type="wan"))
    for _ in range(10):
        worker.failed(WorkerLost("gone"))
        assert workers(fleet) == []
        assert worker.breaker.seconds_left <= 5
        now += 5
        assert workers(fleet) == [worker]


def test_a_long_ejection_is_kept_while_another_worker_can_do_the_work():
    worker = known()
    for _ in range(7):
        worker.breaker._until = worker.breaker._clock()
        worker.failed(WorkerLost("gone"))
    fleet = of(worker, known(free=0))
    assert workers(fleet) == []
    assert worker.breaker.seconds_left > 40


def test_only_a_worker_that_offers_what_is_needed_is_chosen():
    able, unable = known(free=1), known(free=4)
    assert able.description
    able.description.models[0].capabilities.append("reference_style")
    fleet = of(able, unable)
    assert chosen(fleet, "reference_style") is able
    assert chosen(fleet, "model", "compel") is unable
    assert fleet.choose("sdxl", ["another"]) is None
    assert fleet.offers(able) == ["compel", "model", "reference_style"]


def test_a_model_is_offered_only_while_it_is_loaded():
    worker = known()
    assert worker.status
    del worker.status.loaded_models[:]
    assert worker.offers() == []


def test_operators_see_how_a_worker_stands():
    worker = known(in_flight=2, speed=1.5)
    assert not worker.message().HasField("ejected_until")
    worker.failed(EngineFailed("it failed"))
    worker.failed(WorkerLost("gone"))
    message = worker.message()
    assert (message.in_flight, message.failures, message.speed) == (2, 2, 1.5)
    assert message.HasField("ejected_until")
    assert not known(speed=None).message().HasField("speed")


async def test_the_workers_are_counted_by_type_and_state():
    def count(worker_type: str, state: str) -> float | None:
        return REGISTRY.get_sample_value("atelier_workers", {"worker_type": worker_type, "state": state})

    async with following() as fleet:
        ejected = known(worker_type="wan")
        ejected.failed(WorkerLost("gone"))
        fleet.workers = [known(), known(), known(accepting=False), ejected, Worker("127.0.0.1:1")]
        assert count("sdxl", "trusted") == 2
        assert count("sdxl", "draining") == 1
        assert count("wan", "ejected") == 1
        assert count("unknown", "lost") == 1
        fleet.workers = []
    assert count("sdxl", "trusted") == 0


async def test_another_worker_at_the_same_address_is_described_anew():
    async with serving(worker_id="first") as server, following(server.address) as fleet:
        await until(fleet.connected)
        await server.stop()
        await until(lambda: not fleet.connected())
        async with serving(server.address, worker_id="second", slots=3):
            await until(fleet.connected)
            [worker] = fleet.workers
            assert worker.description
            assert (worker.description.worker_id, worker.description.slots) == ("second", 3)
            assert worker.breaker.state == "trusted"  # it drained: that is no failure
            assert worker.free == 3


async def test_a_frozen_worker_is_noticed_in_8_seconds_ejected_and_found_again(tmp_path: Path):
    with process(tmp_path) as child:
        async with following(await child.address()) as fleet:
            await until(fleet.connected)
            [worker] = fleet.workers
            child.signal(signal.SIGSTOP)
            await until(lambda: not fleet.connected(), worker_room.SILENCE_SECONDS + 0.5)
            assert worker.message().failures == 1
            child.signal(signal.SIGCONT)
            await until(lambda: fleet.choose("chat"), 30)
            assert worker.breaker.state == "half_open"


async def test_a_killed_worker_is_noticed_at_once_and_its_successor_found(tmp_path: Path):
    with process(tmp_path) as child:
        address = await child.address()
        async with following(address) as fleet:
            await until(fleet.connected)
            child.signal(signal.SIGKILL)
            await until(lambda: not fleet.connected(), 2)
            assert fleet.workers[0].breaker.state == "ejected"
            async with serving(address):
                await until(lambda: fleet.choose("chat"))
                assert fleet.workers[0].breaker.state == "half_open"


async def test_following_outlives_what_nobody_foresaw(monkeypatch: pytest.MonkeyPatch):
    failures: Iterator[None] = iter([None])
    real = Worker._relay

    async def fails_once(self, stub, notify) -> None:
        for _ in failures:
            raise ZeroDivisionError
        await real(self, stub, notify)

    monkeypatch.setattr(Worker, "_relay", fails_once)
    async with serving() as server, following(server.address) as fleet:
        await until(fleet.connected)


async def test_a_model_that_is_loaded_later_is_offered_and_one_that_is_unloaded_is_not():
    async with serving() as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = worker_pb2_grpc.WorkerServiceStub(channel)
        await stub.UnloadModel(worker_pb2.UnloadModelRequest(name="qwen_base"))
        async with following(server.address) as fleet:
            await until(fleet.connected)
            [worker] = fleet.connected()
            assert "qwen_base" not in fleet.offers(worker)
            await stub.LoadModel(worker_pb2.LoadModelRequest(name="qwen_base"))
            await until(lambda: "qwen_base" in fleet.offers(worker))
            await stub.UnloadModel(worker_pb2.UnloadModelRequest(name="qwen_base"))
            await until(lambda: "qwen_base" not in fleet.offers(worker))
