"""Who watches which job, and what waits to be sent to each. No I/O here."""

import asyncio
import time
from collections.abc import Sequence

from atelier.pb.edge.v1 import edge_pb2
from edge_service.queue.watch.event_log import Entry

# Entries that wait for one watcher. A watcher that needs more reads the table at its own pace.
MAX_WAITING = 64


class Watcher:
    """One watch. It is live while every new event of its job is put here, and behind while it reads the table."""

    def __init__(self, after: int) -> None:
        self.sent = after
        """Sequence number of the last event that was sent."""
        self.taken = after
        """Sequence number of the last event that was put here."""
        self.is_live = False
        self.quiet_since = 0.0
        self._waiting: list[Entry] = []
        self._aside: edge_pb2.WatchJobResponse | None = None
        self._woken = asyncio.Event()

    def go_live(self, last_sequence: int) -> None:
        """From now on it takes what comes after the last event that was sent; a job has none beyond `last_sequence`."""
        self.taken, self.is_live, self.quiet_since = min(self.sent, last_sequence), True, time.monotonic()

    def take(self, entries: Sequence[Entry]) -> None:
        """Puts new events here. If some are missing before them, or too many wait, it falls behind."""
        new = [entry for entry in entries if entry.sequence > self.taken]
        if not new:
            return
        if new[0].sequence > self.taken + 1 or len(self._waiting) + len(new) > MAX_WAITING:
            self._waiting, self.is_live = [], False
        else:
            self._waiting += new
            self.taken = new[-1].sequence
        self._aside = None
        self.wake()

    def tell(self, place: edge_pb2.WatchJobResponse) -> None:
        """Puts a new place in the queue here: it drives out the one before, and the next event drives it out."""
        self._aside = place
        self.wake()

    def keep_alive(self, heartbeat: edge_pb2.WatchJobResponse) -> None:
        """Puts a heartbeat here unless something else waits."""
        self._aside = self._aside or heartbeat
        self.wake()

    def wake(self) -> None:
        self.quiet_since = time.monotonic()
        self._woken.set()

    async def news(self) -> tuple[list[Entry], edge_pb2.WatchJobResponse | None]:
        """What was put here since the last time. Empty if it fell behind, or was woken for another reason."""
        await self._woken.wait()
        self._woken.clear()
        entries, aside = self._waiting, self._aside
        self._waiting, self._aside = [], None
        return entries, aside


class Feed:
    """One job that is watched here."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.watchers: set[Watcher] = set()
        self.heard = 0
        """How often it was said that the job may have changed."""
        self.is_queued = False
        self.place: edge_pb2.QueueUpdate | None = None
        """Its place in the queue as its watchers know it; None unless it is queued."""
        self.whole: edge_pb2.WatchJobResponse | None = None
        """Its last event with the job as it stood at `whole_read`."""
        self.whole_read = 0.0
        self.reading_whole = asyncio.Lock()
        self._last = 0

    @property
    def live(self) -> list[Watcher]:
        return [watcher for watcher in self.watchers if watcher.is_live]

    def learn(self, last_sequence: int, is_queued: bool) -> None:
        """Notes whether the job was queued after its event of this number; what is known of a later one stays."""
        if last_sequence >= self._last:
            self._last, self.is_queued = last_sequence, is_queued
            self.place = self.place if is_queued else None

    def hand(self, entries: Sequence[Entry]) -> None:
        """Gives new events to everyone."""
        self.learn(entries[-1].sequence, entries[-1].leaves_queued)
        for watcher in self.live:
            watcher.take(entries)

    def move(self, place: edge_pb2.QueueUpdate) -> None:
        """Tells everyone the job's new place in the queue."""
        if self.is_queued:
            self.place = place
            for watcher in self.live:
                watcher.tell(edge_pb2.WatchJobResponse(queue=place))
