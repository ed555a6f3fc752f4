import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from edge_service.jobs.statements import CHANGED, STOPPED
from edge_service.jobs.wakeups import Wakeups


@pytest.fixture
async def wakeups(database_url: str) -> AsyncIterator[Wakeups]:
    wakeups = Wakeups()
    with wakeups.on(CHANGED, "started") as listening:
        wakeups.start(database_url)
        await asyncio.wait_for(listening.wait(), 5)
    yield wakeups
    await wakeups.close()


async def notify(url: str, channel: str, payload: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SELECT pg_notify(%s, %s)", [channel, payload])


async def test_only_who_waits_for_a_payload_is_woken(wakeups: Wakeups, database_url: str):
    with wakeups.on(CHANGED, "a") as a, wakeups.on(CHANGED, "b") as b, wakeups.on(STOPPED, "a") as other:
        await notify(database_url, CHANGED, "a")
        await asyncio.wait_for(a.wait(), 5)
        assert not b.is_set()
        assert not other.is_set()


async def test_the_empty_payload_hears_all_of_a_channel(wakeups: Wakeups, database_url: str):
    with wakeups.on(STOPPED, "") as any_job:
        await notify(database_url, STOPPED, "a")
        await asyncio.wait_for(any_job.wait(), 5)


async def test_after_a_lost_connection_everyone_is_woken_and_listening_goes_on(wakeups: Wakeups, database_url: str):
    with wakeups.on(CHANGED, "a") as event:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await asyncio.wait_for(event.wait(), 5)
        event.clear()
        while not event.is_set():  # until it listens again
            await notify(database_url, CHANGED, "a")
            await asyncio.sleep(0.05)


async def test_those_who_leave_are_forgotten(wakeups: Wakeups):
    with wakeups.on(CHANGED, "a"):
        pass
    assert not wakeups._waiting
