"""Running one command: its loop, its signals, its errors and its exit code."""

import asyncio
import importlib.util
import signal
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import typer

from atelier.cli.screen import Screen
from atelier.errors import AtelierError
from atelier.launcher.child import StartFailed
from atelier.small_models import SmallModelError

FAILED = 1
# One of each extra that `local` consists of.
LOCAL_PACKAGES = ("envoy", "psycopg", "torch", "uvloop")
INTERRUPTED = 128 + signal.SIGINT
# Errors whose text is meant for people; anything else is a mistake of ours and keeps its traceback.
EXPECTED = (AtelierError, ConnectionError, StartFailed, SmallModelError, OSError)


def run(work: Coroutine[Any, Any, None], screen: Screen, interrupted: Callable[[], int] = lambda: INTERRUPTED) -> None:
    """Runs a command to its end. An error becomes one line and exit code 1.

    On Ctrl-C or SIGTERM `interrupted` says what people should know then, and returns the exit code.
    """
    try:
        with screen:
            asyncio.run(_stoppable(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(interrupted()) from None
    except EXPECTED as error:
        fail(error, screen)


def require_local() -> None:
    """Ends a command that runs services on this machine where those are not installed: one line and exit code 1."""
    if missing := [name for name in LOCAL_PACKAGES if importlib.util.find_spec(name) is None]:
        typer.echo(f"not installed: {', '.join(missing)}; this command needs pip install 'atelier[local]'", err=True)
        raise typer.Exit(FAILED)


def fail(error: Exception, screen: Screen) -> NoReturn:
    """Says what went wrong and ends the process."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        error = OSError(f"{error.filename}: {error.strerror.lower()}")
    screen.error(error)
    raise typer.Exit(FAILED) from None


async def _stoppable(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()

    def stop() -> None:
        # Once: `make` passes on a signal that its whole group has had already, which is no wish to hurry.
        loop.add_signal_handler(signal.SIGTERM, lambda: None)
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    await work
