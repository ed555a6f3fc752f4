"""What waits to be sent to each watcher, without a database."""

import asyncio

import pytest

from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.queue.watch.event_log import Entry
from edge_service.queue.watch.subscribers import MAX_WAITING, Feed, Watcher


def entries(*sequences: int) -> list[Entry]:
    """Steps of a running job."""
    step = edge_pb2.JobEvent(progress=job_pb2.Progress(step=1))
    return [Entry(number, edge_pb2.WatchJobResponse(event=step)) for number in sequences]


async def waiting(watcher: Watcher) -> list[int]:
    """The numbers of the events that wait now."""
    return [entry.sequence for entry in (await asyncio.wait_for(watcher.news(), 5))[0]]


@pytest.fixture
def watcher() -> Watcher:
    watcher = Watcher(2)
    watcher.go_live(2)
    return watcher


@pytest.fixture
def feed(watcher: Watcher) -> Feed:
    feed = Feed("a")
    feed.watchers.add(watcher)
    return feed


async def test_what_was_taken_before_is_not_taken_again(watcher: Watcher):
    watcher.take(entries(1, 2, 3, 4))
    watcher.take(entries(3, 4, 5))
    assert await waiting(watcher) == [3, 4, 5]


async def test_an_event_that_is_missing_sends_a_watcher_back_to_the_table(watcher: Watcher):
    watcher.take(entries(3))
    watcher.take(entries(5))
    assert not watcher.is_live
    assert await waiting(watcher) == []


async def test_a_watcher_for_whom_too_much_waits_is_sent_back_to_the_table(watcher: Watcher):
    watcher.take(entries(*range(3, MAX_WAITING + 3)))
    assert watcher.is_live
    watcher.take(entries(MAX_WAITING + 3))
    assert not watcher.is_live
    assert await waiting(watcher) == []


async def test_an_event_drives_out_the_place_that_was_told_before_it(watcher: Watcher):
    watcher.tell(edge_pb2.WatchJobResponse(queue=edge_pb2.QueueUpdate(position=1)))
    watcher.take(entries(3))
    assert (await watcher.news())[1] is None


async def test_a_heartbeat_drives_out_no_place(watcher: Watcher):
    place = edge_pb2.WatchJobResponse(queue=edge_pb2.QueueUpdate(position=1))
    watcher.tell(place)
    watcher.keep_alive(edge_pb2.WatchJobResponse(heartbeat=edge_pb2.Heartbeat()))
    assert (await watcher.news())[1] == place


async def test_a_place_that_was_asked_for_before_the_job_began_is_told_to_nobody(feed: Feed, watcher: Watcher):
    feed.learn(2, is_queued=True)
    feed.hand(entries(3))
    feed.move(edge_pb2.QueueUpdate(position=1))
    assert feed.place is None
    assert (await watcher.news())[1] is None


def test_what_is_known_of_a_later_event_is_not_forgotten(feed: Feed):
    feed.learn(3, is_queued=False)
    feed.learn(2, is_queued=True)  # a page that was read earlier and comes later
    assert not feed.is_queued
