"""A blocking engine beside the event loop: steps come out as they happen, and leaving stops it."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from atelier.contracts.errors import Cancelled
from shared.engine_thread import EngineThread

Report = Callable[[int], None]


@pytest.fixture
async def thread() -> AsyncIterator[EngineThread[int, str]]:
    engine_thread: EngineThread[int, str] = EngineThread()
    yield engine_thread
    engine_thread.close()


class Stepping:
    """An engine call that takes 20 ms a step, and tells whether it ran and how it ended."""

    def __init__(self, steps: int = 1000) -> None:
        self.steps, self.made = steps, 0
        self.running = False
        self.aborted: BaseException | None = None

    def __call__(self, report: Report) -> str:
        self.running = True
        try:
            while self.made < self.steps:
                time.sleep(0.02)
                self.made += 1
                report(self.made)
        except BaseException as error:
            time.sleep(0.1)  # a pipeline needs a moment to let go
            self.aborted = error
            raise
        finally:
            self.running = False
        return "done"


async def test_steps_come_out_in_order_and_the_result_last(thread: EngineThread[int, str]) -> None:
    assert [event async for event in thread.run(Stepping(3))] == [1, 2, 3, "done"]


async def test_steps_come_out_while_the_engine_runs(thread: EngineThread[int, str]) -> None:
    call = Stepping(10)
    async with contextlib.aclosing(thread.run(call)) as events:
        assert await anext(events) == 1
        assert call.running


async def test_the_event_loop_goes_on_meanwhile(thread: EngineThread[int, str]) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    async for _ in thread.run(lambda report: time.sleep(0.2) or "done"):
        pass
    ticking.cancel()
    assert ticks > 5


async def test_an_error_of_the_engine_comes_out_as_it_is(thread: EngineThread[int, str]) -> None:
    def call(report: Report) -> str:
        report(1)
        raise ZeroDivisionError("inside")

    events = thread.run(call)
    assert await anext(events) == 1
    with pytest.raises(ZeroDivisionError, match="inside"):
        await anext(events)
    assert [event async for event in thread.run(Stepping(1))] == [1, "done"]  # and the thread is usable


async def test_closing_stops_the_engine_at_its_next_step(thread: EngineThread[int, str]) -> None:
    call = Stepping()
    events = thread.run(call)
    await anext(events)
    await events.aclose()
    assert isinstance(call.aborted, Cancelled)
    assert not call.running
    assert call.made <= 3


@pytest.mark.parametrize("cancels", [1, 3])
async def test_a_cancelled_call_is_left_only_when_the_engine_has_stopped(
    thread: EngineThread[int, str], cancels: int
) -> None:
    call, left_while_running = Stepping(), None

    async def job() -> None:
        nonlocal left_while_running
        try:
            async with contextlib.aclosing(thread.run(call)) as events:
                async for _ in events:
                    pass
        finally:
            left_while_running = call.running

    task = asyncio.create_task(job())
    await asyncio.sleep(0.1)
    for _ in range(cancels):  # a server that stops cancels again what its client has cancelled before
        task.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left_while_running is False
    assert isinstance(call.aborted, Cancelled)


async def test_an_engine_that_hangs_keeps_its_slot_until_it_reports(thread: EngineThread[int, str]) -> None:
    release = threading.Event()

    def hang(report: Report) -> str:
        report(1)
        release.wait(10)
        report(2)
        return "never"

    events = thread.run(hang)
    await anext(events)
    closing = asyncio.ensure_future(events.aclose())
    done, _ = await asyncio.wait({closing}, timeout=0.2)
    assert not done
    release.set()
    await asyncio.wait_for(closing, 1)


async def test_as_many_calls_run_at_once_as_there_are_threads() -> None:
    both = threading.Barrier(2, timeout=5)
    thread: EngineThread[int, str] = EngineThread(2)

    async def job() -> list[int | str]:
        return [event async for event in thread.run(lambda report: str(both.wait() >= 0))]

    assert await asyncio.gather(job(), job()) == [["True"], ["True"]]
    thread.close()
