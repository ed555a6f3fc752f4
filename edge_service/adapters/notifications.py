"""Notifications between the edge's replicas, by LISTEN and NOTIFY: two connections per process, however many wait.

A notification is a hint, the tables are the truth: it is sent after the commit of what it tells, wakes this process at
once and the other replicas a moment later. In the transaction itself it would make all commits wait for each other. One
may be lost in a crash, so what waits also looks by itself now and then; after a lost connection all are woken.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator

import psycopg

# Channels; the payload is a job id, or a worker type for NEW, the id of an API key for KEYS, and empty for CALLBACKS.
NEW, CHANGED, STOPPED, KEYS = "atelier_new", "atelier_changed", "atelier_stopped", "atelier_keys"
CALLBACKS = "atelier_callbacks"
CHANNELS = (NEW, CHANGED, STOPPED, KEYS, CALLBACKS)

log = logging.getLogger(__name__)
RECONNECT_SECONDS = 0.5
# PostgreSQL refuses what it cannot hold in its queue; what is pending beyond this is dropped.
MAX_PENDING = 10_000


class Notifications:
    """Sets the events that wait for a channel and a payload."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
        self._subscribers: dict[str, set[Callable[[str], None]]] = defaultdict(set)
        self._pending: dict[tuple[str, str], None] = {}
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        # Our own notifications come back to us: all that waits here has been woken already.
        self._notifying_pid = 0

    def start(self, url: str) -> None:
        self._tasks = [asyncio.create_task(_forever(loop, url)) for loop in (self._listen, self._broadcast)]

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
    def subscribe(self, channel: str, callback: Callable[[str], None]) -> Iterator[None]:
        """Calls `callback` with the payload of every notification, and with "" when some may have been missed."""
        self._subscribers[channel].add(callback)
        try:
            yield
        finally:
            self._subscribers[channel].discard(callback)

    def notify(self, channel: str, payload: str) -> None:
        """Wakes what waits, here and in the other replicas. Call it after the commit."""
        self._wake(channel, payload)
        if len(self._pending) < MAX_PENDING:
            self._pending[channel, payload] = None
        self._changed.set()

    async def _broadcast(self, url: str) -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            self._notifying_pid = connection.info.backend_pid
            while True:
                await self._changed.wait()
                self._changed.clear()
                batch, self._pending = self._pending, {}
                try:
                    await connection.execute(
                        "SELECT pg_notify(channel, payload)"
                        " FROM unnest(%s::text[], %s::text[]) AS pending(channel, payload)",
                        [[channel for channel, _ in batch], [payload for _, payload in batch]],
                    )
                except BaseException:
                    self._pending |= batch
                    self._changed.set()
                    raise

    async def _listen(self, url: str) -> None:
        try:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                for channel in CHANNELS:
                    await connection.execute(f"LISTEN {channel}".encode())
                self._wake_all()
                async for notice in connection.notifies():
                    if notice.pid != self._notifying_pid:
                        self._wake(notice.channel, notice.payload)
        finally:
            self._wake_all()

    def _wake(self, channel: str, payload: str) -> None:
        for wanted in (payload, ""):
            for event in self._waiting.get((channel, wanted), ()):
                event.set()
        for callback in self._subscribers.get(channel, ()):
            callback(payload)

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()
        for callbacks in self._subscribers.values():
            for callback in callbacks:
                callback("")


async def _forever(loop: Callable[[str], Awaitable[None]], url: str) -> None:
    """Starts a loop again whenever its connection is lost."""
    while True:
        try:
            await loop(url)
        except (psycopg.Error, OSError) as error:
            log.warning("lost the connection for notifications", extra={"error": type(error).__name__})
        await asyncio.sleep(RECONNECT_SECONDS)
