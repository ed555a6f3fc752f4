"""Who is waiting for which change. One listening connection per process, however many wait.

After a lost connection everything is woken once: a notification may have been missed, and reading twice costs little.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterator

import psycopg

from edge_service.jobs.statements import CHANGED, NEW, STOPPED

log = logging.getLogger(__name__)
RECONNECT_SECONDS = 0.5


class Wakeups:
    """Sets the events of those who wait for a channel and a payload."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    def start(self, url: str) -> None:
        self._task = asyncio.create_task(self._listen(url))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @contextlib.contextmanager
    def on(self, channel: str, payload: str) -> Iterator[asyncio.Event]:
        """An event that is set at every notification of this payload, or of any for "". Clear it, read, then wait."""
        event = asyncio.Event()
        self._waiting[channel, payload].add(event)
        try:
            yield event
        finally:
            waiting = self._waiting[channel, payload]
            waiting.discard(event)
            if not waiting:
                del self._waiting[channel, payload]

    async def _listen(self, url: str) -> None:
        while True:
            try:
                await self._relay(url)
            except (psycopg.Error, OSError) as error:
                log.warning("lost the listening connection", extra={"error": type(error).__name__})
            self._wake_all()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _relay(self, url: str) -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for channel in (NEW, CHANGED, STOPPED):
                await connection.execute(f"LISTEN {channel}".encode())
            self._wake_all()
            async for notice in connection.notifies():
                for payload in (notice.payload, ""):
                    for event in self._waiting.get((notice.channel, payload), ()):
                        event.set()

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()
