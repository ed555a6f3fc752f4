"""Rows advance a step at a time: jobs take turns, leave within a step, and never stop each other. Blocking stepper."""

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from atelier.contracts.errors import Cancelled, EngineFailed
from shared.worker.engine import Phase, Report, Step
from shared.worker.step_loop import StepLoop


@dataclass
class Request:
    """`rows` rows of `steps` steps of `seconds` each; `keys` are theirs, all the same without."""

    name: str
    steps: int = 3
    rows: int = 1
    keys: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass
class Row:
    request: Request
    index: int
    done: int = 0

    @property
    def total(self) -> int:
        return self.request.steps


@dataclass
class Steps:
    """A stepper that remembers what it did, in order, and in which thread. `fail` is called before everything."""

    fail: Callable[[str, str], None] = lambda stage, name: None
    log: list[str] = field(default_factory=list)
    threads: dict[str, str] = field(default_factory=dict)
    running: int = 0

    def _note(self, stage: str, name: str) -> None:
        self.log.append(f"{stage} {name}")
        self.threads[stage] = threading.current_thread().name
        self.fail(stage, name)

    def begin(self, request: Request, report: Report) -> list[Row]:
        report(Step(Phase.ENCODING))
        self._note("begin", request.name)
        return [Row(request, index) for index in range(request.rows)]

    def key(self, row: Row) -> Hashable:
        return row.request.keys[row.index] if row.request.keys else ""

    def step(self, rows: Sequence[Row]) -> None:
        self.running += 1
        try:
            time.sleep(rows[0].request.seconds)
            self._note("step", rows[0].request.name + "".join(str(row.index) for row in rows[1:]))
            for row in rows:
                row.done += 1
        finally:
            self.running -= 1

    def finish(self, row: Row, report: Report) -> str:
        report(Step(Phase.DECODING, row.index, row.request.rows))
        self._note("finish", row.request.name)
        return f"{row.request.name}{row.index} after {row.done}"


Loop = StepLoop[Request, Row, str]


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
async def loop(steps: Steps) -> AsyncIterator[Loop]:
    loop: Loop = StepLoop(steps)
    yield loop
    await loop.close()


async def everything(loop: Loop, request: Request) -> list[Step | str]:
    return [event async for event in loop.run(request)]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_job_goes_through_its_stages_and_says_so(loop: Loop) -> None:
    assert await everything(loop, Request("a", rows=2)) == [
        Step(Phase.ENCODING),
        *(Step(Phase.DENOISING, step, 3) for step in (1, 2, 3)),
        Step(Phase.DECODING, 0, 2),
        "a0 after 3",
        Step(Phase.DECODING, 1, 2),
        "a1 after 3",
    ]
    assert loop.idle


async def test_steps_come_out_while_others_are_still_to_be_made(loop: Loop, steps: Steps) -> None:
    async with contextlib.aclosing(loop.run(Request("a", 100, seconds=0.01))) as events:
        assert await anext(events) == Step(Phase.ENCODING)
        assert await anext(events) == Step(Phase.DENOISING, 1, 100)
        assert len(steps.log) < 10


async def test_the_event_loop_goes_on_meanwhile(loop: Loop) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await everything(loop, Request("a", 2, seconds=0.1))
    ticking.cancel()
    assert ticks > 5


async def test_jobs_take_turns_of_one_step(loop: Loop, steps: Steps) -> None:
    await asyncio.gather(*(everything(loop, Request(name, 20, seconds=0.005)) for name in "ab"))
    turns = [entry for entry in steps.log if entry.startswith("step")]
    both = turns[turns.index("step b") : 20]
    assert all(one != other for one, other in pairwise(both)), turns


async def test_a_short_job_that_comes_later_ends_first(loop: Loop) -> None:
    ended: list[str] = []

    async def run(request: Request) -> None:
        await everything(loop, request)
        ended.append(request.name)

    long = asyncio.create_task(run(Request("long", 50, seconds=0.01)))
    await asyncio.sleep(0.1)
    await run(Request("short", 3, seconds=0.01))
    await long
    assert ended == ["short", "long"]


async def test_rows_with_one_key_share_a_step_and_others_do_not(loop: Loop, steps: Steps) -> None:
    events = await everything(loop, Request("a", 1, rows=3, keys=("x", "y", "x")))
    assert [entry for entry in steps.log if entry.startswith("step")] == ["step a2", "step a"]
    assert [event for event in events if isinstance(event, Step) and event.phase is Phase.DENOISING] == [
        Step(Phase.DENOISING, 0, 1),
        Step(Phase.DENOISING, 1, 1),
    ]


async def test_steps_have_a_thread_of_their_own(loop: Loop, steps: Steps) -> None:
    await everything(loop, Request("a"))
    assert steps.threads["begin"] == steps.threads["finish"] != steps.threads["step"]
    assert await loop.call(lambda: threading.current_thread().name) == steps.threads["step"]


async def test_one_thread_does_everything_where_parts_cannot_run_at_once(loop: Loop, steps: Steps) -> None:
    loop.use_one_thread()
    loop.use_one_thread()
    await everything(loop, Request("a"))
    assert len(set(steps.threads.values())) == 1


async def test_the_steps_of_others_go_on_while_a_job_is_decoded(loop: Loop, steps: Steps) -> None:
    release = threading.Event()
    steps.fail = lambda stage, name: release.wait(5) and None if (stage, name) == ("finish", "slow") else None
    slow = asyncio.create_task(everything(loop, Request("slow", 1)))
    await until(lambda: "finish slow" in steps.log)
    other = loop.run(Request("other", 3))
    steps.log.clear()
    encoding = asyncio.create_task(anext(other))  # waits behind the decoding
    running = asyncio.create_task(loop.call(lambda: steps.step([Row(Request("b"), 0)])))
    await asyncio.wait_for(running, 2)
    release.set()
    await slow
    await encoding
    await other.aclose()


async def test_a_job_that_waits_behind_the_decoding_of_another_is_left_at_once(loop: Loop, steps: Steps) -> None:
    release = threading.Event()
    steps.fail = lambda stage, name: release.wait(5) and None if (stage, name) == ("finish", "slow") else None
    slow = asyncio.create_task(everything(loop, Request("slow", 1)))
    await until(lambda: "finish slow" in steps.log)
    waiting = asyncio.create_task(everything_closed(loop, Request("waiting")))
    await asyncio.sleep(0.02)
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=1)
    assert waiting.cancelled()
    release.set()
    assert (await slow)[-1] == "slow0 after 1"
    assert "begin waiting" not in steps.log


@pytest.mark.parametrize("stage", ["begin", "step", "finish"])
@pytest.mark.parametrize("error", [ZeroDivisionError("inside"), EngineFailed("said so")])
async def test_an_error_comes_out_as_it_is_and_others_go_on(
    loop: Loop, steps: Steps, stage: str, error: Exception
) -> None:
    def fail(at: str, name: str) -> None:
        if (at, name) == (stage, "bad"):
            raise error

    steps.fail = fail
    other = asyncio.create_task(everything(loop, Request("good", 20, seconds=0.005)))
    with pytest.raises(type(error)) as raised:
        await everything(loop, Request("bad"))
    assert raised.value is error
    assert (await other)[-1] == "good0 after 20"
    assert (await everything(loop, Request("next")))[-1] == "next0 after 3"
    assert loop.idle


@pytest.mark.parametrize("stage", ["begin", "step", "finish"])
@pytest.mark.parametrize("error", [StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
async def test_what_no_future_carries_fails_the_job_and_nothing_else(
    loop: Loop, steps: Steps, stage: str, error: type[BaseException]
) -> None:
    def fail(at: str, name: str) -> None:
        if (at, name) == (stage, "bad"):
            raise error

    steps.fail = fail
    with pytest.raises(RuntimeError, match=error.__name__):
        await asyncio.wait_for(everything(loop, Request("bad")), 5)
    assert (await everything(loop, Request("next")))[-1] == "next0 after 3"


async def test_an_error_in_the_key_of_a_row_fails_its_job_alone(loop: Loop) -> None:
    with pytest.raises(IndexError):
        await asyncio.wait_for(everything(loop, Request("a", rows=2, keys=("only one",))), 5)
    assert (await everything(loop, Request("next")))[-1] == "next0 after 3"


async def test_a_row_that_cannot_say_how_far_it_is_fails_its_job_alone(loop: Loop, steps: Steps) -> None:
    class Broken(Row):
        @property
        def total(self) -> int:
            raise ZeroDivisionError

    begin = steps.begin
    steps.begin = lambda request, report: [Broken(request, 0)]  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(everything(loop, Request("bad")), 5)
    steps.begin = begin  # type: ignore[method-assign]
    assert (await everything(loop, Request("next")))[-1] == "next0 after 3"


async def test_a_job_without_rows_ends(loop: Loop) -> None:
    assert await asyncio.wait_for(everything(loop, Request("none", rows=0)), 5) == [Step(Phase.ENCODING)]


async def test_closing_stops_a_job_at_its_next_step(loop: Loop, steps: Steps) -> None:
    events = loop.run(Request("a", 1000, seconds=0.02))
    while await anext(events) != Step(Phase.DENOISING, 2, 1000):
        pass
    await events.aclose()
    assert steps.running == 0
    assert loop.idle
    assert steps.log.count("step a") <= 4
    made = len(steps.log)
    await asyncio.sleep(0.1)
    assert len(steps.log) == made
    assert "finish a" not in steps.log


@pytest.mark.parametrize("stage", ["begin", "finish"])
async def test_a_job_can_be_left_while_it_is_encoded_or_decoded(loop: Loop, steps: Steps, stage: str) -> None:
    release = threading.Event()
    steps.fail = lambda at, name: release.wait(5) and None if at == stage else None
    job = asyncio.create_task(everything(loop, Request("a", 1, rows=2)))
    await until(lambda: f"{stage} a" in steps.log)
    job.cancel()
    await asyncio.sleep(0.05)
    assert not job.done(), "what it used was given away while it ran"
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(job, 5)
    assert steps.log.count("finish a") <= 1
    assert ("step a1" in steps.log) == (stage == "finish")


@pytest.mark.parametrize("cancels", [1, 3])
async def test_a_cancelled_job_is_left_only_when_its_step_has_ended(loop: Loop, steps: Steps, cancels: int) -> None:
    left_while_running = None

    async def job() -> None:
        nonlocal left_while_running
        try:
            await everything_closed(loop, Request("a", 1000, seconds=0.1))
        finally:
            left_while_running = steps.running

    task = asyncio.create_task(job())
    await until(lambda: steps.running)
    for _ in range(cancels):  # a server that stops cancels again what its client has cancelled before
        task.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left_while_running == 0


async def everything_closed(loop: Loop, request: Request) -> None:
    async with contextlib.aclosing(loop.run(request)) as events:
        async for _ in events:
            pass


async def test_a_step_that_hangs_keeps_its_job_until_it_ends(loop: Loop, steps: Steps) -> None:
    release = threading.Event()
    steps.fail = lambda at, name: release.wait(10) and None if at == "step" else None
    events = loop.run(Request("a"))
    await anext(events)
    await until(lambda: steps.running)
    closing = asyncio.ensure_future(events.aclose())
    done, _ = await asyncio.wait({closing}, timeout=0.2)
    assert not done
    release.set()
    await asyncio.wait_for(closing, 1)


async def test_leaving_at_any_moment_leaves_nothing_behind(loop: Loop, steps: Steps) -> None:
    jobs = [asyncio.create_task(everything_closed(loop, Request(f"{n}", 20, seconds=0.001))) for n in range(30)]
    for place, job in enumerate(jobs):
        await asyncio.sleep(0.001 * (place % 7))
        if place % 3:
            job.cancel()
    ended = await asyncio.gather(*jobs, return_exceptions=True)
    assert [end for end in ended if end is not None and not isinstance(end, asyncio.CancelledError)] == []
    assert sum(end is None for end in ended) >= 10
    assert loop.idle
    assert not loop._turns


async def test_nothing_runs_after_the_loop_was_closed(loop: Loop, steps: Steps) -> None:
    running = asyncio.create_task(everything(loop, Request("a", 1000, seconds=0.01)))
    await until(lambda: "step a" in steps.log)
    await loop.close()
    with pytest.raises((Cancelled, EngineFailed)):
        await asyncio.wait_for(running, 5)
    with pytest.raises(EngineFailed, match="closed"):
        await everything(loop, Request("b"))
    with pytest.raises(EngineFailed, match="closed"):
        await loop.call(lambda: None)


async def test_a_report_after_the_reader_has_gone_raises(loop: Loop, steps: Steps) -> None:
    kept: list[Any] = []
    begin = steps.begin

    def keep(request: Request, report: Report) -> list[Row]:
        kept.append(report)
        return begin(request, report)

    steps.begin = keep  # type: ignore[method-assign]
    await everything(loop, Request("a"))
    with pytest.raises(Cancelled):
        kept[0](Step(Phase.ENCODING))


class Panic(BaseException):
    """Like those of Rust: no Exception."""


@pytest.mark.parametrize("stage", ["begin", "step", "finish"])
async def test_what_is_no_exception_fails_its_job_alone(stage: str) -> None:
    def fail(at: str, name: str) -> None:
        if (at, name) == (stage, "bad"):
            raise Panic

    loop = Loop(Steps(fail))
    good, bad = (asyncio.create_task(drained(loop, Request(name))) for name in ("good", "bad"))
    async with asyncio.timeout(5):
        assert await good == ["good0 after 3"]
        with pytest.raises(RuntimeError, match="Panic"):
            await bad
    assert loop.idle
    await loop.close()


@pytest.mark.parametrize("stage", ["begin", "step", "finish"])
async def test_a_job_that_failed_leaves_nothing_for_the_garbage_collector(stage: str) -> None:
    rows: list[weakref.ref[Row]] = []

    class Watched(Steps):
        def begin(self, request: Request, report: Report) -> list[Row]:
            made = super().begin(request, report)
            rows.extend(weakref.ref(row) for row in made)
            return made

    def fail(at: str, name: str) -> None:
        if at == stage:
            raise ValueError(name)

    loop = Loop(Watched(fail))
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            await drained(loop, Request("a", rows=2))
        await asyncio.sleep(0.05)
        assert [row() for row in rows if row()] == []
    finally:
        gc.enable()
        await loop.close()


async def test_a_job_that_is_cancelled_twice_is_off_the_loop_once_it_has_ended() -> None:
    loop = Loop(Steps())
    running = asyncio.create_task(drained(loop, Request("slow", steps=100, seconds=0.1)))
    await asyncio.sleep(0.15)
    running.cancel()
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert loop.idle
    await loop.close()


async def drained(loop: Loop, request: Request) -> list[str]:
    """The media of a job."""
    async with contextlib.aclosing(loop.run(request)) as events:
        return [event async for event in events if not isinstance(event, Step)]
