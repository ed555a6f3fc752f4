"""Jobs on a worker's engine: waiting, progress, failing, leaving. The engine is a fake, the rest is real."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from atelier.contracts.errors import (
    CapabilityMissing,
    Draining,
    EngineFailed,
    InvalidRequest,
    NoFreeSlot,
    OutOfMemory,
    Violation,
)
from atelier.pb.job.v1 import job_pb2
from shared.config import ModelConfig
from shared.worker.engine import Model, Phase, Step
from shared.worker.jobs import Jobs
from shared.worker.models import Models
from shared.worker.progress import Meter
from shared.worker.slots import Slots
from tests.kit.fake_engine import FakeEngine, Script


def stepping(steps: int, seconds: float = 0.0) -> Script:
    async def act(request: str) -> AsyncGenerator[Step | str, None]:
        for step in range(1, steps + 1):
            await asyncio.sleep(seconds)
            yield Step(Phase.DENOISING, step, steps)
        yield Step(Phase.DECODING)
        yield f"made {request}"

    return act


def make_models(act: Script, *names: str) -> Models[Any]:
    engine = FakeEngine(Model("", "fake"), act, lambda model, texts: [])
    return Models([ModelConfig(name, "nowhere") for name in names], lambda on_change: engine)


@pytest.fixture
async def jobs() -> Jobs[str, str]:
    """One slot, one waiting place, and a loaded engine."""
    models, slots = make_models(stepping(3), "model"), Slots(1, 1)
    await models.start(lambda works: None)
    slots.accept()
    return Jobs(slots, models)


def run(jobs: Jobs[str, str], act: Script | None = None, **options: Any) -> Any:
    if act:
        jobs.models.engine.act = act  # type: ignore[attr-defined]
    return jobs.execute("it", "model", Meter(), {"width": "job.config.width"}, **options)


async def fail(jobs: Jobs[str, str], error: Exception) -> Exception:
    """What comes out of a job whose engine raises `error`."""

    async def act(request: str) -> AsyncGenerator[Step | str, None]:
        yield Step(Phase.DENOISING, 1, 3)
        raise error

    with pytest.raises(Exception) as raised:  # noqa: PT011
        [event async for event in run(jobs, act)]
    return raised.value


async def test_progress_comes_first_and_the_result_last(jobs: Jobs[str, str]) -> None:
    *progress, last = [event async for event in run(jobs)]
    assert last == "made it"
    assert [message.phase for message in progress] == [
        job_pb2.PHASE_DENOISING,
        job_pb2.PHASE_DENOISING,
        job_pb2.PHASE_DECODING,
    ]
    assert [(message.step, message.total_steps) for message in progress[:2]] == [(1, 3), (3, 3)]


async def test_what_is_to_be_said_first_is_said_once_there_is_a_slot(jobs: Jobs[str, str]) -> None:
    first, *_ = [event async for event in run(jobs, first=Step(Phase.GENERATING, 0, 100))]
    assert (first.phase, first.total_steps) == (job_pb2.PHASE_GENERATING, 100)


async def test_at_most_ten_messages_a_second_are_sent(jobs: Jobs[str, str]) -> None:
    started = time.monotonic()
    events = [event async for event in run(jobs, stepping(200, 0.003))]
    allowed = (time.monotonic() - started) * 10
    assert 4 < len(events) <= allowed + 5  # the first, the last, two phases, the result


async def test_a_job_behind_another_says_that_it_waits(jobs: Jobs[str, str]) -> None:
    release = asyncio.Event()

    async def holding(request: str) -> AsyncGenerator[Step | str, None]:
        await release.wait()
        yield Step(Phase.DENOISING, 1, 1)

    async def everything(events: AsyncGenerator[Any, None]) -> list[Any]:
        return [event async for event in events]

    first = asyncio.create_task(everything(run(jobs, holding)))
    await asyncio.sleep(0.05)
    second = run(jobs, stepping(1))
    assert (await anext(second)).phase == job_pb2.PHASE_WAITING
    running = asyncio.create_task(anext(second))
    await asyncio.sleep(0.05)
    with pytest.raises(NoFreeSlot):
        await anext(run(jobs))
    release.set()
    assert (await running).phase == job_pb2.PHASE_DENOISING
    await first
    await second.aclose()


async def test_the_slot_is_free_when_the_iterator_has_ended(jobs: Jobs[str, str]) -> None:
    async for _ in run(jobs):
        assert jobs.slots.free == 0
    assert jobs.slots.free == 1


@pytest.mark.parametrize("error", [OutOfMemory("too large"), CapabilityMissing("cannot"), EngineFailed("said so")])
async def test_a_typed_error_of_the_engine_passes(jobs: Jobs[str, str], error: Exception) -> None:
    assert await fail(jobs, error) is error


@pytest.mark.parametrize("error", [ZeroDivisionError("sentinel"), TimeoutError("sentinel"), RuntimeError("sentinel")])
async def test_any_other_error_becomes_engine_failed(
    jobs: Jobs[str, str], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    failed = await fail(jobs, error)
    assert type(failed) is EngineFailed
    assert "sentinel" not in failed.message
    [record] = caplog.records
    assert vars(record)["error_id"] in failed.message
    assert record.exc_info
    assert [event async for event in run(jobs, stepping(1))][-1] == "made it"  # and the next job runs


async def test_a_field_of_the_engine_is_named_as_the_request_has_it(jobs: Jobs[str, str]) -> None:
    failed = await fail(jobs, InvalidRequest(Violation("width", "must be even"), Violation("other", "odd")))
    assert isinstance(failed, InvalidRequest)
    assert [violation.field for violation in failed.violations] == ["job.config.width", "other"]


async def test_leaving_closes_the_work_of_the_engine_and_frees_the_slot(jobs: Jobs[str, str]) -> None:
    ended = False

    async def endless(request: str) -> AsyncGenerator[Step | str, None]:
        nonlocal ended
        try:
            for step in range(1000):
                await asyncio.sleep(0.01)
                yield Step(Phase.DENOISING, step, 1000)
        finally:
            await asyncio.sleep(0.05)
            ended = True

    async with contextlib.aclosing(run(jobs, endless)) as events:
        await anext(events)
    assert ended
    assert jobs.slots.free == 1


async def test_nothing_runs_before_the_engine_has_loaded() -> None:
    jobs: Jobs[str, str] = Jobs(Slots(1, 0), make_models(stepping(1), "model"))
    with pytest.raises(Draining):
        await anext(run(jobs))
    with pytest.raises(Draining):
        _ = jobs.model


async def test_a_job_that_names_no_model_gets_the_first() -> None:
    models = make_models(stepping(1), "first", "second")
    await models.start(lambda works: None)
    jobs: Jobs[str, str] = Jobs(Slots(1, 0), models)
    assert jobs.model.name == "first"
    await models.unload("first")
    assert jobs.model.name == "second"
