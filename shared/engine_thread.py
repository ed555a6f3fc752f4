"""Runs a blocking engine call beside the event loop, with its steps coming out as an async iterator."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from atelier.contracts.errors import Cancelled

StepT = TypeVar("StepT")
ResultT = TypeVar("ResultT")


class EngineThread(Generic[StepT, ResultT]):
    """As many threads as the worker has slots. A call's `report` raises once its caller has gone."""

    def __init__(self, threads: int = 1) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="engine")

    async def run(self, call: Callable[[Callable[[StepT], None]], ResultT]) -> AsyncGenerator[StepT | ResultT, None]:
        """Yields what `call` reports, then what it returns. Closing the iterator stops the call at its next report
        and returns only when it has stopped, so that a slot is never given to two jobs."""
        loop, gone = asyncio.get_running_loop(), threading.Event()
        steps: asyncio.Queue[StepT | None] = asyncio.Queue()

        def report(step: StepT) -> None:
            if gone.is_set():
                raise Cancelled("the caller has gone")
            loop.call_soon_threadsafe(steps.put_nowait, step)

        running = loop.run_in_executor(self._executor, _carried, call, report)
        running.add_done_callback(lambda _: steps.put_nowait(None))
        try:
            while (step := await steps.get()) is not None:
                yield step
            yield await running
        finally:
            gone.set()
            await _end(running)

    def close(self) -> None:
        """Frees the threads; a call that still runs ends at its next report."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _carried(call: Callable[[Callable[[StepT], None]], ResultT], report: Callable[[StepT], None]) -> ResultT:
    try:
        return call(report)
    except StopIteration as error:
        # No future carries one: a caller would wait for ever.
        raise RuntimeError("an iterator of the engine ended early") from error


async def _end(running: "asyncio.Future[ResultT]") -> None:
    """Waits until the call has ended, however often the waiting itself is cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = error
    running.cancelled() or running.exception()  # seen: no caller is left for an abandoned call's error
    if cancelled:
        raise cancelled
