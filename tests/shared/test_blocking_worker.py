"""Jobs on a blocking engine: waiting, progress, storing, failing, leaving. The engine is a fake, the rest is real."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from atelier.contracts.errors import (  # fmt: skip
    CapabilityMissing,
    Draining,
    EngineFailed,
    InvalidRequest,
    ModelUnusable,
    NoFreeSlot,
    OutOfMemory,
    Violation,
)
from atelier.pb.job.v1 import job_pb2
from shared.blocking_worker import Jobs
from shared.progress import Meter
from shared.slots import Slots
from shared.tokens import TokenCount

Report = Callable[["Step"], None]


class Phase(Enum):
    DENOISING = "denoising"
    DECODING = "decoding"


@dataclass(frozen=True)
class Step:
    phase: Phase
    step: int = 0
    total: int = 0


class FakeEngine:
    """Does nothing but remember in which thread it was loaded."""

    def __init__(self) -> None:
        self.loaded_in = 0
        self.model: Any = None

    def load(self) -> None:
        self.loaded_in = threading.get_ident()

    def device_memory_mb(self) -> tuple[int, int]:
        return 0, 0

    def count_tokens(self, texts: Sequence[str]) -> list[TokenCount]:
        return []


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs[FakeEngine]]:
    """One slot, one waiting place, and a loaded engine."""
    jobs = Jobs(Slots(1, 1), FakeEngine, Step)
    await jobs.load()
    jobs.slots.accept()
    yield jobs
    jobs.close()


async def store(result: str) -> str:
    return f"stored {result}"


def run(jobs: Jobs[FakeEngine], call: Callable[[FakeEngine, Report], str], store: Any = store) -> Any:
    return jobs.execute(call, store, Meter(), {"width": "job.config.width"})


async def fail(jobs: Jobs[FakeEngine], error: Exception) -> Exception:
    """What comes out of a job whose engine raises `error`."""

    def call(engine: FakeEngine, report: Report) -> str:
        raise error

    with pytest.raises(Exception) as raised:  # noqa: PT011
        [event async for event in run(jobs, call)]
    return raised.value


def stepping(steps: int, seconds: float = 0.0) -> Callable[[FakeEngine, Report], str]:
    def call(engine: FakeEngine, report: Report) -> str:
        for step in range(1, steps + 1):
            time.sleep(seconds)
            report(Step(Phase.DENOISING, step, steps))
        report(Step(Phase.DECODING))
        return "result"

    return call


async def test_progress_comes_first_and_the_stored_result_last(jobs: Jobs[FakeEngine]) -> None:
    *progress, last = [event async for event in run(jobs, stepping(3))]
    assert last == "stored result"
    phases = [job_pb2.PHASE_DENOISING, job_pb2.PHASE_DENOISING, job_pb2.PHASE_DECODING, job_pb2.PHASE_STORING]
    assert [message.phase for message in progress] == phases
    assert [(message.step, message.total_steps) for message in progress[:2]] == [(1, 3), (3, 3)]


async def test_at_most_ten_messages_a_second_are_sent(jobs: Jobs[FakeEngine]) -> None:
    started = time.monotonic()
    events = [event async for event in run(jobs, stepping(200, 0.003))]
    allowed = (time.monotonic() - started) * 10
    assert 4 < len(events) <= allowed + 5  # the first, the last, two phases, the result


async def test_the_engine_is_loaded_in_the_thread_it_works_in(jobs: Jobs[FakeEngine]) -> None:
    events = [event async for event in run(jobs, lambda engine, report: str(threading.get_ident()))]
    assert events[-1] == f"stored {jobs.engine.loaded_in}"


async def test_a_job_behind_another_says_that_it_waits(jobs: Jobs[FakeEngine]) -> None:
    release = threading.Event()
    first = asyncio.create_task(anext(run(jobs, lambda engine, report: str(release.wait(5)))))
    await asyncio.sleep(0.05)
    second = run(jobs, stepping(1))
    assert (await anext(second)).phase == job_pb2.PHASE_WAITING
    running = asyncio.create_task(anext(second))
    await asyncio.sleep(0.05)
    with pytest.raises(NoFreeSlot):
        await anext(run(jobs, stepping(1)))
    release.set()
    assert (await running).phase == job_pb2.PHASE_DENOISING
    await first
    await second.aclose()


async def test_the_slot_is_free_while_the_result_is_stored(jobs: Jobs[FakeEngine]) -> None:
    async def look(result: str) -> int:
        return jobs.slots.free

    assert [event async for event in run(jobs, stepping(1), look)][-1] == 1


@pytest.mark.parametrize("error", [OutOfMemory("too large"), CapabilityMissing("cannot"), EngineFailed("said so")])
async def test_a_typed_error_of_the_engine_passes(jobs: Jobs[FakeEngine], error: Exception) -> None:
    assert await fail(jobs, error) is error


@pytest.mark.parametrize("error", [ZeroDivisionError("sentinel"), TimeoutError("sentinel"), StopIteration("sentinel")])
async def test_any_other_error_becomes_engine_failed(
    jobs: Jobs[FakeEngine], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    failed = await fail(jobs, error)
    assert type(failed) is EngineFailed
    assert "sentinel" not in failed.message
    [record] = caplog.records
    assert vars(record)["error_id"] in failed.message
    assert record.exc_info
    assert [event async for event in run(jobs, stepping(1))][-1] == "stored result"  # and the next job runs


async def test_a_field_of_the_engine_is_named_as_the_request_has_it(jobs: Jobs[FakeEngine]) -> None:
    failed = await fail(jobs, InvalidRequest(Violation("width", "must be even"), Violation("other", "odd")))
    assert isinstance(failed, InvalidRequest)
    assert [violation.field for violation in failed.violations] == ["job.config.width", "other"]


async def test_leaving_ends_the_engine_at_its_next_step_and_frees_the_slot(jobs: Jobs[FakeEngine]) -> None:
    steps = []

    def call(engine: FakeEngine, report: Report) -> str:
        while True:
            time.sleep(0.02)
            steps.append(1)
            report(Step(Phase.DENOISING, len(steps), 1000))

    async with contextlib.aclosing(run(jobs, call)) as events:
        await anext(events)
        before = len(steps)
    assert len(steps) <= before + 1
    assert jobs.slots.free == 1
    await asyncio.sleep(0.1)
    assert len(steps) <= before + 1


async def test_nothing_runs_before_the_engine_has_loaded() -> None:
    jobs = Jobs(Slots(1, 0), FakeEngine, Step)
    with pytest.raises(Draining):
        await anext(run(jobs, stepping(1)))
    with pytest.raises(Draining):
        _ = jobs.engine
    jobs.close()


async def test_an_engine_that_cannot_load_says_why() -> None:
    class Broken(FakeEngine):
        def load(self) -> None:
            raise ModelUnusable("no model in /nowhere")

    jobs = Jobs(Slots(1, 0), Broken, Step)
    with pytest.raises(ModelUnusable, match="no model in /nowhere"):
        await jobs.load()
    jobs.close()
