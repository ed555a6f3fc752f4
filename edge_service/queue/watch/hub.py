"""One feed for each job that is watched here: one reader for all watchers, however many they are.

A watcher first reads the table, page by page at its own pace. Once it has caught up it is live: the one reader, woken
by notifications, reads what is new of all changed jobs in one query and hands it on. A watcher that does not keep up is
sent back to the table; so a slow one costs little memory, and no watcher misses an event or sees it twice.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

from atelier.contracts.errors import DatabaseUnavailable, Draining
from atelier.pb.edge.v1 import edge_pb2
from edge_service.adapters.database import Database
from edge_service.adapters.notifications import CHANGED, Notifications
from edge_service.queue.estimates.queue_forecast import QueueForecast
from edge_service.queue.watch.event_log import Entry, EventLog, Page
from edge_service.queue.watch.queue_position import QueuePositions
from edge_service.queue.watch.subscribers import MAX_WAITING, Feed, Watcher

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0
# The table is read so long before a heartbeat, for a notification may have been lost with the replica that sent it.
BEAT_SECONDS, LOOK_SECONDS = 1.0, 2.0
PAGE_SIZE, MAX_PAGES_AT_ONCE = 256, 4
# Jobs in one query; and how long the reader rests, in times that it read and at most: the busier, the larger its bites.
MAX_JOBS, REST, MAX_REST_SECONDS = 500, 4.0, 0.025
RETRY_SECONDS = 0.5
# Many watchers of one job share one reading of it when it ends.
WHOLE_SECONDS = 10.0
HEARTBEAT = edge_pb2.WatchJobResponse(heartbeat=edge_pb2.Heartbeat())

# Reads the whole job of an owner, with signed URLs.
ReadJob = Callable[[str, str], Awaitable[edge_pb2.Job]]


class WatchHub:
    """Every watch of this process."""

    def __init__(
        self, database: Database, notifications: Notifications, forecasts: QueueForecast, read_job: ReadJob,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:  # fmt: skip
        self._log, self._notifications, self._read_job = EventLog(database), notifications, read_job
        self._heartbeat_seconds = heartbeat_seconds
        self._feeds: dict[str, Feed] = {}
        self._places = QueuePositions(forecasts, self._feeds)
        self._changed: set[str] = set()
        self._woken = asyncio.Event()
        self._pages = asyncio.Semaphore(MAX_PAGES_AT_ONCE)
        self._draining = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loops = (self._read, self._beat, self._places.follow)
        self._tasks = [asyncio.create_task(_ever(loop)) for loop in loops]

    def drain(self) -> None:
        """Ends every watch with Draining."""
        self._draining = True
        for feed in self._feeds.values():
            for watcher in feed.watchers:
                watcher.wake()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def watch(self, owner: str, job_id: str, after: int) -> AsyncGenerator[edge_pb2.WatchJobResponse, None]:
        """What happens to the owner's job after a sequence number, to its end. Raises JobNotFound, Draining.

        Events come in order, without gap or double, but for those of an ended job that were pruned. The last carries
        the whole job. Between them come places in the queue while it is queued, and heartbeats.
        """
        watcher = Watcher(after)
        with self._joined(job_id, watcher) as feed:
            while not self._draining:
                heard = feed.heard
                page = None if watcher.is_live else await self._page(owner, job_id, watcher.sent)
                entries, aside = (page.entries, None) if page else await watcher.news()
                for entry in entries:
                    if entry.sequence > watcher.sent:
                        watcher.sent = entry.sequence
                        yield await self._whole(owner, feed, entry) if entry.is_last else entry.response
                    if entry.is_last:
                        return
                if aside:
                    yield aside
                if page and not page.is_full:
                    if page.has_ended:
                        return
                    self._go_live(feed, watcher, page)
                    if feed.heard != heard:
                        self._look(feed)  # it may have changed after the page was read
        raise Draining(f"the edge is stopping; watch again after sequence {watcher.sent}")

    @contextlib.contextmanager
    def _joined(self, job_id: str, watcher: Watcher) -> Iterator[Feed]:
        feed = self._feeds.setdefault(job_id, Feed(job_id))
        feed.watchers.add(watcher)
        try:
            yield feed
        finally:
            feed.watchers.discard(watcher)
            if not feed.watchers:
                del self._feeds[job_id]

    async def _page(self, owner: str, job_id: str, after: int) -> Page:
        async with self._pages:
            return await self._log.page(owner, job_id, after, PAGE_SIZE)

    def _go_live(self, feed: Feed, watcher: Watcher, page: Page) -> None:
        watcher.go_live(page.last_sequence)
        feed.learn(page.last_sequence, page.is_queued)
        if feed.place:
            watcher.tell(edge_pb2.WatchJobResponse(queue=feed.place))
        elif feed.is_queued:
            self._places.ask()

    async def _whole(self, owner: str, feed: Feed, last: Entry) -> edge_pb2.WatchJobResponse:
        async with feed.reading_whole:
            if feed.whole is None or time.monotonic() - feed.whole_read > WHOLE_SECONDS:
                whole = edge_pb2.WatchJobResponse(event=last.response.event)
                whole.event.ended.CopyFrom(await self._read_job(owner, feed.job_id))
                feed.whole, feed.whole_read = whole, time.monotonic()
            return feed.whole

    def _hear(self, job_id: str) -> None:
        """A job may have changed; "" stands for all of them."""
        for feed in (self._feeds.get(job_id),) if job_id else self._feeds.values():
            if feed:
                feed.heard += 1
                self._look(feed)

    def _look(self, feed: Feed) -> None:
        self._changed.add(feed.job_id)
        self._woken.set()

    async def _read(self) -> None:
        with self._notifications.subscribe(CHANGED, self._hear):
            self._hear("")
            while True:
                await self._woken.wait()
                self._woken.clear()
                began = time.monotonic()
                await self._read_changed()
                await asyncio.sleep(min(REST * (time.monotonic() - began), MAX_REST_SECONDS))

    async def _read_changed(self) -> None:
        changed, self._changed = list(self._changed), set()
        try:
            for start in range(0, len(changed), MAX_JOBS):
                await self._read_batch(changed[start : start + MAX_JOBS])
        except BaseException:
            self._changed.update(changed)
            raise

    async def _read_batch(self, job_ids: list[str]) -> None:
        feeds = [feed for job_id in job_ids if (feed := self._feeds.get(job_id))]
        after = {feed.job_id: min(watcher.taken for watcher in live) for feed in feeds if (live := feed.live)}
        news = await self._log.news(after, MAX_WAITING) if after else {}
        for job_id, entries in news.items():
            if feed := self._feeds.get(job_id):
                feed.hand(entries)
                if feed.is_queued and feed.place is None:
                    self._places.ask()
                if len(entries) == MAX_WAITING:
                    self._look(feed)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(min(BEAT_SECONDS, self._heartbeat_seconds / 4))
            now = time.monotonic()
            for feed in self._feeds.values():
                for watcher in feed.live:
                    self._keep_alive(feed, watcher, now - watcher.quiet_since)

    def _keep_alive(self, feed: Feed, watcher: Watcher, quiet_seconds: float) -> None:
        if quiet_seconds >= self._heartbeat_seconds:
            watcher.keep_alive(HEARTBEAT)
        elif quiet_seconds >= self._heartbeat_seconds - LOOK_SECONDS:
            self._look(feed)


async def _ever(loop: Callable[[], Awaitable[None]]) -> None:
    """Restarts a loop after any error: without it every watch would stand still."""
    while True:
        try:
            await loop()
        except DatabaseUnavailable:
            pass  # the next round does what this one left
        except Exception:
            log.exception("watches are late")
        await asyncio.sleep(RETRY_SECONDS)
