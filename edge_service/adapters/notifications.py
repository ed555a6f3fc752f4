"""Who is waiting for which change. One listening and one telling connection per process, however many wait.

A notification is a hint, the tables are the truth: it is sent after the commit of what it tells, wakes this process at
once and the other replicas a moment later. In the transaction itself it would make all commits wait for each other. One
may be lost in a crash, so whoever waits also looks by himself now and then; after a lost connection all are woken.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator

import psycopg

# Channels; the payload is a job id, or a worker type for NEW, or the id of an API key for KEYS.
NEW, CHANGED, STOPPED, KEYS = "atelier_new", "atelier_changed", "atelier_stopped", "atelier_keys"

log = logging.getLogger(__name__)
RECONNECT_SECONDS = 0.5
# PostgreSQL refuses what it cannot hold in its queue; what is pending beyond this is forgotten, and everyone looks.
MAX_PENDING = 10_000


class Notifications:
    """Sets the events of those who wait for a channel and a payload."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
        self._hearing: dict[str, set[Callable[[str], None]]] = defaultdict(set)
        self._pending: dict[tuple[str, str], None] = {}
        self._told = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        # Our own notifications come back to us: everyone here has been woken already.
        self._telling_pid = 0

    def start(self, url: str) -> None:
        self._tasks = [asyncio.create_task(_ever(loop, url)) for loop in (self._listen, self._broadcast)]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextlib.contextmanager
    def event(self, channel: str, payload: str) -> Iterator[asyncio.Event]:
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

    @contextlib.contextmanager
    def subscribe(self, channel: str, hear: Callable[[str], None]) -> Iterator[None]:
        """Calls `hear` with the payload of every notification, and with "" when any of them may have been missed."""
        self._hearing[channel].add(hear)
        try:
            yield
        finally:
            self._hearing[channel].discard(hear)

    def notify(self, channel: str, payload: str) -> None:
        """Wakes those who wait, here and in the other replicas. Call it after the commit."""
        self._wake(channel, payload)
        if len(self._pending) < MAX_PENDING:
            self._pending[channel, payload] = None
        self._told.set()

    async def _broadcast(self, url: str) -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            self._telling_pid = connection.info.backend_pid
            while True:
                await self._told.wait()
                self._told.clear()
                batch, self._pending = self._pending, {}
                try:
                    await connection.execute(
                        "SELECT pg_notify(channel, payload)"
                        " FROM unnest(%s::text[], %s::text[]) AS told(channel, payload)",
                        [[channel for channel, _ in batch], [payload for _, payload in batch]],
                    )
                except BaseException:
                    self._pending |= batch
                    self._told.set()
                    raise

    async def _listen(self, url: str) -> None:
        try:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                for channel in (NEW, CHANGED, STOPPED, KEYS):
                    await connection.execute(f"LISTEN {channel}".encode())
                self._wake_all()
                async for notice in connection.notifies():
                    if notice.pid != self._telling_pid:
                        self._wake(notice.channel, notice.payload)
        finally:
            self._wake_all()

    def _wake(self, channel: str, payload: str) -> None:
        for wanted in (payload, ""):
            for event in self._waiting.get((channel, wanted), ()):
                event.set()
        for hear in self._hearing.get(channel, ()):
            hear(payload)

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()
        for hearing in self._hearing.values():
            for hear in hearing:
                hear("")


async def _ever(loop: Callable[[str], Awaitable[None]], url: str) -> None:
    """Starts a loop again whenever its connection is lost."""
    while True:
        try:
            await loop(url)
        except (psycopg.Error, OSError) as error:
            log.warning("lost the connection for notifications", extra={"error": type(error).__name__})
        await asyncio.sleep(RECONNECT_SECONDS)
