"""Positions in the queue and expected times, told to the watchers of queued jobs when they change."""

import asyncio
import time
from collections.abc import Mapping, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from atelier.pb.edge.v1 import edge_pb2
from edge_service.queue.estimates.queue_forecast import QueueForecast
from edge_service.queue.watch.subscribers import Feed

PERIOD_SECONDS = 1.0
# Asking takes at most a tenth of the time, however long the queue is.
REST = 10.0
# Expected times that move less than this are not worth telling: seconds, and share of the time that is left.
NOTICEABLE_SECONDS, NOTICEABLE_SHARE = 2.0, 0.1


class QueuePositions:
    """Asks for all watched jobs at once, about once a second, and at once for one that is newly watched."""

    def __init__(self, forecasts: QueueForecast, feeds: Mapping[str, Feed]) -> None:
        self._forecasts, self._feeds = forecasts, feeds
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Says that a watcher waits for its first position."""
        self._asked.set()

    async def follow(self) -> None:
        """Tells changes for ever. Raises DatabaseUnavailable."""
        due = 0.0
        while True:
            await self._wait(due)
            everyone, began = time.monotonic() >= due, time.monotonic()
            await self._tell([feed for feed in self._feeds.values() if feed.is_queued and (everyone or not feed.place)])
            rest = REST * (time.monotonic() - began)
            due = time.monotonic() + max(PERIOD_SECONDS, rest) if everyone else due
            await asyncio.sleep(rest)

    async def _wait(self, due: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                await self._asked.wait()
        except TimeoutError:
            pass
        self._asked.clear()

    async def _tell(self, feeds: Sequence[Feed]) -> None:
        forecasts = await self._forecasts.of([feed.job_id for feed in feeds]) if feeds else {}
        now = time.time()
        for feed in feeds:
            forecast = forecasts.get(feed.job_id)
            if forecast and forecast.position is not None:
                place = edge_pb2.QueueUpdate(position=forecast.position, estimate=forecast.estimate)
                if is_noticeable(feed.place, place, now):
                    feed.move(place)


def is_noticeable(told: edge_pb2.QueueUpdate | None, place: edge_pb2.QueueUpdate, now: float) -> bool:
    """Whether watchers who were told the one should be told the other."""
    if told is None or told.position != place.position or told.HasField("estimate") != place.HasField("estimate"):
        return True
    old, new = told.estimate, place.estimate
    return _moved(old.start, new.start, now) or _moved(old.finish, new.finish, now)


def _moved(old: Timestamp, new: Timestamp, now: float) -> bool:
    seconds = abs(new.ToNanoseconds() - old.ToNanoseconds()) / 1e9
    left = new.ToNanoseconds() / 1e9 - now
    return seconds > max(NOTICEABLE_SECONDS, NOTICEABLE_SHARE * left)
