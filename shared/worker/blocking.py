"""Blocking calls beside the event loop, whose ends are always waited for: a thread cannot be stopped."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

ResultT = TypeVar("ResultT")


def in_thread(thread: Executor | None, function: Callable[[], ResultT]) -> "asyncio.Future[ResultT]":
    """Starts a function in a thread of the executor; None stands for the event loop's own."""
    return asyncio.get_running_loop().run_in_executor(thread, carried, function)


async def ended(running: "asyncio.Future[ResultT]") -> ResultT:
    """The result of something, once it has ended, however often the waiting itself is cancelled meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        running.cancelled() or running.exception()  # seen: no caller is left for an abandoned call's error
        raise cancelled
    return running.result()


def carried(function: Callable[[], ResultT]) -> ResultT:
    """What the function returns. Raises RuntimeError for what no future can carry to the event loop."""
    try:
        return function()
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise
        # A future refuses StopIteration, the event loop ends with SystemExit and KeyboardInterrupt, CancelledError
        # looks like a caller that left, and a tokenizer's panic in Rust is no Exception: it would pass every handler.
        raise RuntimeError(f"the engine raised {type(error).__name__}") from error
