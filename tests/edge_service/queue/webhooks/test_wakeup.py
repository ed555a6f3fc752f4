"""Callbacks go out at once and without polling: replicas are notified, and sleep until the next try."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.adapters.asset_urls import AssetUrls
from edge_service.adapters.database import Database
from edge_service.adapters.http_client import GuardedHttpClient
from edge_service.adapters.notifications import CALLBACKS, Notifications
from edge_service.adapters.url_guard import UrlGuard
from edge_service.queue.leases import Leases
from edge_service.queue.store import Store
from edge_service.queue.webhooks import delivery as module
from edge_service.queue.webhooks.delivery import Webhooks
from shared.assets import AssetStore
from tests.kit.job_tables import Jobs, plan
from tests.kit.listening import cut_connections, listening
from tests.kit.receiver import Receiver, receiving, until

AT_ONCE_SECONDS = 0.8
ERROR = job_pb2.JobError(reason=job_pb2.ERROR_REASON_ENGINE_FAILED, message="it broke")


@pytest.fixture(autouse=True)
def without_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_SECONDS", 1000.0)


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def sending(
    database: Database, assets: AssetStore, notifications: Notifications, stack: contextlib.AsyncExitStack
) -> None:
    """A replica that sends callbacks, and has found that there are none."""
    outgoing = GuardedHttpClient(UrlGuard("127.0.0.0/8"))
    stack.push_async_callback(outgoing.close)
    webhooks = Webhooks(database, notifications, outgoing, AssetUrls("http://atelier.example", assets))
    webhooks.start(b"a secret")
    stack.push_async_callback(webhooks.close)
    await asyncio.sleep(0.3)


def told(url: str, on_start: bool = False) -> dict[str, edge_pb2.Webhook]:
    return {"webhook": edge_pb2.Webhook(url=url, on_start=on_start)}


async def received(receiver: Receiver, count: int = 1) -> float:
    """Seconds until it has received so many callbacks."""
    begun = time.monotonic()
    await until(lambda: len(receiver.received) >= count)
    return time.monotonic() - begun


async def test_a_callback_goes_out_at_once(
    jobs: Jobs, database: Database, assets: AssetStore, receiver: Receiver, stack: contextlib.AsyncExitStack
):
    await sending(database, assets, jobs.notifications, stack)
    await jobs.store.cancel("ann", await jobs.submit(planned=plan(**told(receiver.url))))
    assert await received(receiver) < AT_ONCE_SECONDS


async def test_another_replica_sends_it_at_once(
    database_url: str, database: Database, assets: AssetStore, receiver: Receiver, stack: contextlib.AsyncExitStack
):
    here, there = await listening(database_url, stack), await listening(database_url, stack)
    jobs = Jobs(Store(database, here), Leases(database, here), database, here)
    await sending(database, assets, there, stack)
    await jobs.submit(planned=plan(**told(receiver.url, on_start=True)))
    [lease] = await jobs.lease()
    assert await jobs.leases.record(lease, lease.last_sequence, [])
    assert await received(receiver) < AT_ONCE_SECONDS
    await until(lambda: len(receiver.received) == 1)
    await jobs.leases.fail(lease, "failed", ERROR)
    assert await received(receiver, 2) < AT_ONCE_SECONDS


async def test_after_a_lost_connection_it_is_found(
    database_url: str, database: Database, assets: AssetStore, receiver: Receiver, stack: contextlib.AsyncExitStack
):
    there = await listening(database_url, stack)
    jobs = Jobs(Store(database, Notifications()), Leases(database, Notifications()), database)  # nothing is notified
    await sending(database, assets, there, stack)
    await jobs.store.cancel("ann", await jobs.submit(planned=plan(**told(receiver.url))))
    await asyncio.sleep(AT_ONCE_SECONDS)
    assert receiver.received == []
    await cut_connections(database_url)
    await received(receiver)


async def test_what_was_not_taken_is_sent_again_when_its_time_has_come(
    jobs: Jobs, database: Database, assets: AssetStore, receiver: Receiver, stack: contextlib.AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr(module, "BACKOFF_SECONDS", (1.0,))
    monkeypatch.setattr(module, "JITTER", 0.0)
    receiver.statuses = [503, 200]
    await sending(database, assets, jobs.notifications, stack)
    await jobs.store.cancel("ann", await jobs.submit(planned=plan(**told(receiver.url))))
    await received(receiver)
    assert 0.8 < await received(receiver, 2) < 1.0 + AT_ONCE_SECONDS


async def test_one_that_another_replica_left_is_sent_when_its_time_has_come(
    jobs: Jobs, database: Database, assets: AssetStore, receiver: Receiver, stack: contextlib.AsyncExitStack
):
    await jobs.store.cancel("ann", await jobs.submit(planned=plan(**told(receiver.url))))
    await jobs.execute("UPDATE outbox SET next_try = now() + interval '1 second', tries = 1")
    await sending(database, assets, jobs.notifications, stack)
    assert receiver.received == []
    assert await received(receiver) < 1.0 + AT_ONCE_SECONDS


@pytest.mark.parametrize("webhook", [True, False], ids=["with a webhook", "without"])
@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_replicas_are_notified_of_an_end_that_has_a_callback(jobs: Jobs, end: str, webhook: bool):
    await jobs.submit(planned=plan(**told("https://receiver.example") if webhook else {}))
    [lease] = await jobs.lease()
    assert await jobs.leases.record(lease, lease.last_sequence, [])
    with jobs.notifications.event(CALLBACKS, "") as due:
        if end == "completed":
            assert await jobs.complete(lease)
        elif end == "failed":
            assert await jobs.leases.fail(lease, end, ERROR)
        else:
            await jobs.store.cancel("ann", lease.job_id)
        assert due.is_set() is webhook


async def test_replicas_are_notified_of_a_start_that_has_a_callback(jobs: Jobs):
    for on_start in (True, False):
        await jobs.submit(planned=plan(**told("https://receiver.example", on_start)))
        [lease] = await jobs.lease()
        with jobs.notifications.event(CALLBACKS, "") as due:
            last = await jobs.leases.record(lease, lease.last_sequence, [])
            assert last is not None
            assert due.is_set() is on_start
            due.clear()
            await jobs.leases.record(lease, last, [edge_pb2.JobEvent(progress=job_pb2.Progress(step=1))])
            assert not due.is_set()


async def test_replicas_are_notified_of_a_job_that_expired(jobs: Jobs):
    await jobs.submit(planned=plan(**told("https://receiver.example")))
    await jobs.execute("UPDATE jobs SET deadline = now()")
    with jobs.notifications.event(CALLBACKS, "") as due:
        await jobs.leases.expire()
        assert due.is_set()
