"""Following a job over broken connections, without gap or double."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from atelier.errors import Cancelled, DatabaseUnavailable, Draining, EdgeUnreachable, translated
from atelier.events import Ended, Event, from_message, place_changed

# How long an edge may be away; one that restarts needs a few seconds.
TIMEOUT_SECONDS = 60.0
PAUSES_SECONDS = (0.0, 0.2, 0.4, 0.8, 1.6, 3.2)
# An edge that stops ends its streams with one of these; the job goes on without it.
BROKEN = (EdgeUnreachable, Draining, DatabaseUnavailable, Cancelled)


async def follow(
    attach: Callable[[int], Any], after: int, address: str, on_lost: Callable[[], None] | None = None
) -> AsyncIterator[Event]:
    """Yields events until the job has ended, or at once if it had ended with the event `after`.

    `attach(sequence)` opens a stream of what comes after it; `on_lost` is called once for each stream that breaks.
    Raises what the stream raised if it cannot be opened again for a minute.
    """
    last, failures, alive = after, 0, time.monotonic()
    while True:
        said_nothing = True
        try:
            async for message in _messages(attach(last), address):
                failures, alive, said_nothing = 0, time.monotonic(), False
                match message.WhichOneof("message"):
                    case "event":
                        last = message.event.sequence
                        event = from_message(message.event)
                        yield event
                        if isinstance(event, Ended):
                            return
                    case "queue":
                        yield place_changed(last, message.queue)
            if said_nothing:
                return
        except BROKEN:
            if time.monotonic() - alive > TIMEOUT_SECONDS:
                raise
            if on_lost and not failures:
                on_lost()
        await asyncio.sleep(PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS) - 1)])
        failures += 1


async def _messages(call: Any, address: str) -> AsyncIterator[Any]:
    try:
        with translated(address):
            async for message in call:
                yield message
    finally:
        call.cancel()
