"""Watching jobs: every watcher of a process is served by one reader, and none misses or doubles an event."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import psycopg
import pytest

from atelier.contracts.errors import Draining, JobNotFound
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.adapters.database import Database
from edge_service.adapters.notifications import CHANGED, Notifications
from edge_service.queue.estimates.queue_forecast import QueueForecast
from edge_service.queue.leases import Leases
from edge_service.queue.rows import Lease
from edge_service.queue.store import Store
from edge_service.queue.watch.event_log import EventLog
from edge_service.queue.watch.hub import PAGE_SIZE, WatchHub
from edge_service.queue.watch.queue_position import is_noticeable
from edge_service.queue.watch.subscribers import MAX_WAITING
from tests.kit.job_tables import Jobs

# Long before a heartbeat, before which the table is read anyhow.
SOON = 8
Watch = AsyncIterator[edge_pb2.WatchJobResponse]


@dataclass(frozen=True)
class Replica:
    """What one edge process has for its watchers, and both sides of the tables it writes."""

    notifications: Notifications
    feeds: WatchHub
    jobs: Jobs

    def watch(self, job_id: str, after: int = 0, owner: str = "ann") -> Watch:
        return self.feeds.watch(owner, job_id, after)

    async def step(self, lease: Lease, after: int, count: int = 1) -> int:
        """A worker goes on; returns the job's last sequence number."""
        steps = [edge_pb2.JobEvent(progress=job_pb2.Progress(step=step)) for step in range(count)]
        last = await self.jobs.leases.record(lease, after, steps)
        assert last is not None
        return last


@pytest.fixture
async def replica(database: Database, database_url: str) -> AsyncIterator[Callable[..., Replica]]:
    """Starts replicas on the test's database: `one, other = replica(), replica()`."""
    started: list[Replica] = []

    def start(heartbeat_seconds: float = 15.0, slots: int = 1) -> Replica:
        notifications = Notifications()
        store, leases = Store(database, notifications), Leases(database, notifications)
        forecasts = QueueForecast(database, lambda worker_type: slots, lambda: 60.0)
        feeds = WatchHub(database, notifications, forecasts, store.job, heartbeat_seconds)
        notifications.start(database_url)
        feeds.start()
        started.append(Replica(notifications, feeds, Jobs(store, leases, database)))
        return started[-1]

    yield start
    for one in started:
        await one.feeds.close()
        await one.notifications.close()


async def next_of(watch: Watch, kind: str = "event") -> edge_pb2.WatchJobResponse:
    """The next message of this kind."""
    async with asyncio.timeout(20):
        async for response in watch:
            if response.WhichOneof("message") == kind:
                return response
    raise AssertionError(f"the watch ended without another {kind}")


async def sequences(watch: Watch) -> list[int]:
    """The numbers of all its events, to its end."""
    async with asyncio.timeout(30):
        return [response.event.sequence async for response in watch if response.HasField("event")]


async def live(replica: Replica, watchers: int) -> None:
    """Waits until so many watchers have caught up, and nothing is left to be read for them."""
    async with asyncio.timeout(20):
        while sum(len(feed.live) for feed in replica.feeds._feeds.values()) < watchers or replica.feeds._changed:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)


async def test_a_watch_gives_every_event_in_order_and_ends_with_the_whole_job(replica: Callable[..., Replica]):
    edge = replica()
    lease = await edge.jobs.running()
    await edge.jobs.complete(lease)
    events = [response.event async for response in edge.watch(lease.job_id) if response.HasField("event")]
    assert [event.sequence for event in events] == [1, 2, 3]
    assert events[-1].ended.status == job_pb2.JOB_STATUS_COMPLETED
    assert events[-1].ended == await edge.jobs.store.job("ann", lease.job_id)


async def test_a_watch_goes_on_from_any_sequence_at_another_replica(replica: Callable[..., Replica]):
    writer, reader = replica(), replica()
    lease = await writer.jobs.running()
    watches = [asyncio.ensure_future(sequences(reader.watch(lease.job_id, after))) for after in range(30)]
    last = 2
    for _ in range(25):
        last = await writer.step(lease, last)
    await writer.jobs.leases.fail(lease, "failed", job_pb2.JobError(reason=job_pb2.ERROR_REASON_ENGINE_FAILED))
    for after, numbers in enumerate(await asyncio.gather(*watches)):
        assert numbers == list(range(after + 1, 29))


async def test_events_go_on_without_gap_or_double_while_edges_come_and_go(replica: Callable[..., Replica]):
    writer = replica()
    lease = await writer.jobs.running()
    seen = [0]

    async def follow() -> None:
        while True:
            edge = replica()
            asyncio.get_running_loop().call_later(0.1, edge.feeds.drain)
            with contextlib.suppress(Draining):
                async for response in edge.watch(lease.job_id, seen[-1]):
                    if response.HasField("event"):
                        seen.append(response.event.sequence)
                return

    following, last = asyncio.ensure_future(follow()), 2
    for _ in range(150):
        last = await writer.step(lease, last, 3)
    await writer.jobs.complete(lease)
    await asyncio.wait_for(following, 30)
    assert seen == list(range(last + 2))


async def test_a_drain_ends_a_watch_that_waits(replica: Callable[..., Replica]):
    edge = replica()
    lease = await edge.jobs.running()
    waiting = asyncio.ensure_future(next_of(edge.watch(lease.job_id, 2)))
    await live(edge, 1)
    edge.feeds.drain()
    with pytest.raises(Draining, match="after sequence 2"):
        await asyncio.wait_for(waiting, SOON)


async def test_somebody_elses_job_cannot_be_watched(replica: Callable[..., Replica]):
    edge = replica()
    job_id = await edge.jobs.submit("ann")
    with pytest.raises(JobNotFound):
        await anext(edge.watch(job_id, owner="bob"))  # type: ignore[arg-type]
    assert not edge.feeds._feeds


async def test_a_watcher_that_does_not_read_costs_little_and_misses_nothing(replica: Callable[..., Replica]):
    edge = replica()
    lease = await edge.jobs.running()
    slow = edge.watch(lease.job_id, 2)
    reading = asyncio.ensure_future(next_of(slow))
    last, quick = 2, asyncio.ensure_future(sequences(edge.watch(lease.job_id, 2)))
    await live(edge, 2)
    for _ in range(40):
        last = await edge.step(lease, last, 20)
        for watcher in edge.feeds._feeds[lease.job_id].watchers:
            assert len(watcher._waiting) <= MAX_WAITING
    assert (await reading).event.sequence == 3
    await edge.jobs.complete(lease)
    assert await quick == list(range(3, last + 2))
    assert any(not watcher.is_live for watcher in edge.feeds._feeds[lease.job_id].watchers)
    assert await sequences(slow) == list(range(4, last + 2))


async def test_a_log_of_many_pages_is_read_to_its_end(replica: Callable[..., Replica]):
    edge = replica()
    lease = await edge.jobs.running()
    last = await edge.step(lease, 2, 2 * PAGE_SIZE - 2)
    watching = asyncio.ensure_future(sequences(edge.watch(lease.job_id)))
    last = await edge.step(lease, last, 3 * PAGE_SIZE)
    await edge.jobs.complete(lease)
    assert await watching == list(range(1, last + 2))


async def test_an_event_that_comes_while_a_page_is_on_its_way_is_not_late(
    replica: Callable[..., Replica], monkeypatch: pytest.MonkeyPatch
):
    edge = replica()
    lease = await edge.jobs.running()
    read_page = EventLog.page

    async def late(*arguments: object) -> object:
        page = await read_page(*arguments)  # type: ignore[arg-type]
        monkeypatch.undo()
        await edge.step(lease, 2)
        await asyncio.sleep(0.2)  # the reader has looked, and found nobody to read for
        return page

    monkeypatch.setattr(EventLog, "page", late)
    async with asyncio.timeout(SOON):
        assert (await next_of(edge.watch(lease.job_id, 2))).event.sequence == 3


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the table of events was read, by kind of reading."""
    counts = {"page": 0, "news": 0}

    def count(kind: str) -> None:
        original = getattr(EventLog, kind)

        async def counted(*arguments: object) -> object:
            counts[kind] += 1
            return await original(*arguments)

        monkeypatch.setattr(EventLog, kind, counted)

    count("page")
    count("news")
    return counts


async def test_one_query_serves_all_watchers_of_all_jobs(
    replica: Callable[..., Replica], database: Database, reads: dict[str, int]
):
    edge, silent = replica(), Leases(database, Notifications())
    leases = [await edge.jobs.running() for _ in range(20)]
    watches = [edge.watch(lease.job_id, 2) for lease in leases for _ in range(5)]
    waiting = [asyncio.ensure_future(next_of(watch)) for watch in watches]
    await live(edge, 100)
    for lease in leases:
        await silent.record(lease, 2, [edge_pb2.JobEvent(progress=job_pb2.Progress(step=1))])
    before = dict(reads)
    for lease in leases:
        edge.notifications.notify(CHANGED, lease.job_id)
    assert [(await one).event.sequence for one in waiting] == [3] * 100
    assert (reads["page"], reads["news"]) == (before["page"], before["news"] + 1)


async def test_many_watchers_of_a_job_that_ends_share_one_reading_of_it(
    replica: Callable[..., Replica], monkeypatch: pytest.MonkeyPatch
):
    edge, read = replica(), []
    store_job = edge.jobs.store.job

    async def counted(owner: str, job_id: str) -> edge_pb2.Job:
        read.append(job_id)
        return await store_job(owner, job_id)

    monkeypatch.setattr(edge.feeds, "_read_job", counted)
    lease = await edge.jobs.running()
    watches = [asyncio.ensure_future(sequences(edge.watch(lease.job_id))) for _ in range(50)]
    await live(edge, 50)
    await edge.jobs.complete(lease)
    assert await asyncio.gather(*watches) == [[1, 2, 3]] * 50
    assert read == [lease.job_id]


async def test_what_happened_while_the_connections_were_lost_is_read(
    replica: Callable[..., Replica], database: Database, database_url: str
):
    edge, silent = replica(), Leases(database, Notifications())
    lease = await edge.jobs.running()
    watch = edge.watch(lease.job_id, 2)
    waiting = asyncio.ensure_future(next_of(watch))
    await live(edge, 1)
    await silent.record(lease, 2, [edge_pb2.JobEvent(progress=job_pb2.Progress(step=1))])
    assert not waiting.done()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert (await asyncio.wait_for(waiting, SOON)).event.sequence == 3
    while True:
        with contextlib.suppress(Exception):  # connections of the pool that are dead, each once
            await edge.jobs.complete(lease)
            break
    assert await sequences(watch) == [4]


async def test_a_lost_notification_delays_no_event_beyond_the_heartbeat(
    replica: Callable[..., Replica], database: Database
):
    edge, silent = replica(heartbeat_seconds=0.4), Leases(database, Notifications())
    lease = await edge.jobs.running()
    watch = edge.watch(lease.job_id, 2)
    assert (await next_of(watch, "heartbeat")).HasField("heartbeat")
    await silent.record(lease, 2, [edge_pb2.JobEvent(progress=job_pb2.Progress(step=1))])
    assert (await next_of(watch)).event.sequence == 3


def tasks_of_watching() -> set[asyncio.Task]:
    """Those of watches and of their forecasts; other edges of this process have tasks of their own."""
    rooms = ("edge_service/queue/watch/", "edge_service/queue/estimates/", "tests/edge_service/queue/watch/")
    codes = ((task, getattr(task.get_coro(), "cr_code", None)) for task in asyncio.all_tasks())
    return {task for task, code in codes if code and any(room in code.co_filename for room in rooms)}


async def test_watches_that_are_cancelled_leave_nothing_behind(replica: Callable[..., Replica]):
    edge = replica()
    job_id = await edge.jobs.submit()
    await asyncio.sleep(0.05)
    before = tasks_of_watching()
    watches = [asyncio.ensure_future(sequences(edge.watch(job_id))) for _ in range(50)]
    await live(edge, 50)
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)
    async with asyncio.timeout(20):
        while tasks_of_watching() - before:  # a forecast that was asked for may still be on its way
            await asyncio.sleep(0.01)
    assert not edge.feeds._feeds


@pytest.mark.parametrize("kept", ["sequence > 3", "false"])
async def test_of_a_pruned_log_what_is_left_is_sent_and_the_end_always(replica: Callable[..., Replica], kept: str):
    edge = replica()
    lease = await edge.jobs.running()
    await edge.step(lease, 2, 2)
    await edge.jobs.complete(lease)
    await edge.jobs.execute(f"DELETE FROM events WHERE NOT ({kept})")
    events = [response.event async for response in edge.watch(lease.job_id, 1)]
    assert [event.sequence for event in events] == ([4, 5] if kept != "false" else [5])
    assert events[-1].ended.status == job_pb2.JOB_STATUS_COMPLETED


async def test_a_watch_from_beyond_the_end_is_over_at_once(replica: Callable[..., Replica]):
    edge = replica()
    lease = await edge.jobs.running()
    await edge.jobs.complete(lease)
    assert await sequences(edge.watch(lease.job_id, 3)) == []
    assert await sequences(edge.watch(lease.job_id, 99)) == []


async def test_a_queued_job_is_told_its_place_at_once_and_whenever_it_changes(replica: Callable[..., Replica]):
    edge = replica()
    jobs = [await edge.jobs.submit() for _ in range(3)]
    watch = edge.watch(jobs[2])
    first = (await next_of(watch, "queue")).queue
    assert first.position == 3
    assert first.estimate.finish.ToNanoseconds() > first.estimate.start.ToNanoseconds()
    await edge.jobs.store.cancel("ann", jobs[0])
    assert (await next_of(watch, "queue")).queue.position == 2
    assert (await next_of(edge.watch(jobs[2]), "queue")).queue.position == 2


async def test_without_a_worker_there_is_a_place_but_no_estimate(replica: Callable[..., Replica]):
    edge = replica(slots=0)
    told = (await next_of(edge.watch(await edge.jobs.submit()), "queue")).queue
    assert told.position == 1
    assert not told.HasField("estimate")


async def test_a_job_that_runs_is_told_no_place_until_it_is_queued_again(replica: Callable[..., Replica]):
    edge = replica(heartbeat_seconds=1.5)
    lease = await edge.jobs.running()
    watch = edge.watch(lease.job_id)
    async with asyncio.timeout(20):
        async for response in watch:
            assert response.WhichOneof("message") != "queue"
            if response.HasField("heartbeat"):
                break
    await edge.jobs.leases.requeue(lease, job_pb2.JobError(reason=job_pb2.ERROR_REASON_WORKER_LOST), 0, counts=True)
    assert (await next_of(watch)).event.retry.attempt == 1
    assert (await next_of(watch, "queue")).queue.position == 1


def place(position: int, start: int, finish: int) -> edge_pb2.QueueUpdate:
    update = edge_pb2.QueueUpdate(position=position)
    update.estimate.start.seconds, update.estimate.finish.seconds = start, finish
    return update


@pytest.mark.parametrize(
    ("new", "noticeable"),
    [
        (place(3, 100, 200), False),
        (place(2, 100, 200), True),
        (place(3, 102, 200), False),  # 2 seconds
        (place(3, 112, 200), True),  # more than 10 % of the time that is left
        (place(3, 105, 219), False),  # 5 of 105 and 19 of 219 seconds
        (place(3, 100, 240), True),
        (edge_pb2.QueueUpdate(position=3), True),
    ],
)
def test_only_what_people_would_notice_is_told(new: edge_pb2.QueueUpdate, noticeable: bool):
    assert is_noticeable(place(3, 100, 200), new, now=0) is noticeable
