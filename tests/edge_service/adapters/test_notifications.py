import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from edge_service.adapters.notifications import CHANGED, NEW, STOPPED, Notifications
from tests.kit.listening import cut_connections, listening


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as opened:
        yield opened


@pytest.fixture
async def here(database_url: str, stack: contextlib.AsyncExitStack) -> Notifications:
    return await listening(database_url, stack)


@pytest.fixture
async def there(database_url: str, stack: contextlib.AsyncExitStack) -> Notifications:
    return await listening(database_url, stack)


async def test_who_waits_here_is_woken_at_once(here: Notifications):
    with here.event(CHANGED, "a") as event:
        here.notify(CHANGED, "a")
        assert event.is_set()


async def test_another_replica_hears_of_it(here: Notifications, there: Notifications):
    with there.event(CHANGED, "a") as event:
        here.notify(CHANGED, "a")
        await asyncio.wait_for(event.wait(), 5)


async def test_what_one_tells_does_not_come_back(here: Notifications, there: Notifications):
    with here.event(CHANGED, "a") as mine, there.event(NEW, "last") as last:
        here.notify(CHANGED, "a")
        mine.clear()
        here.notify(NEW, "last")
        await asyncio.wait_for(last.wait(), 5)
        assert not mine.is_set()


async def test_only_who_waits_for_a_payload_is_woken(here: Notifications, there: Notifications):
    with there.event(CHANGED, "a") as a, there.event(CHANGED, "b") as b, there.event(STOPPED, "a") as other:
        here.notify(CHANGED, "a")
        await asyncio.wait_for(a.wait(), 5)
        assert not b.is_set()
        assert not other.is_set()


async def test_the_empty_payload_hears_all_of_a_channel(here: Notifications, there: Notifications):
    with there.event(STOPPED, "") as any_job:
        here.notify(STOPPED, "a")
        await asyncio.wait_for(any_job.wait(), 5)


async def test_what_is_told_again_while_it_is_being_sent_is_sent_again(here: Notifications, there: Notifications):
    with there.event(CHANGED, "a") as event:
        for _ in range(50):
            event.clear()
            here.notify(CHANGED, "a")
            await asyncio.wait_for(event.wait(), 5)


async def test_after_a_lost_connection_everyone_is_woken_and_hears_again(
    here: Notifications, there: Notifications, database_url: str
):
    with there.event(CHANGED, "a") as event:
        await cut_connections(database_url)
        await asyncio.wait_for(event.wait(), 5)
        event.clear()
        async with asyncio.timeout(10):
            while not event.is_set():  # until both are connected again
                here.notify(CHANGED, "a")
                await asyncio.sleep(0.05)


async def test_what_could_not_be_sent_is_sent_once_the_connection_is_back(
    here: Notifications, there: Notifications, database_url: str
):
    await cut_connections(database_url)
    with there.event(CHANGED, "once") as event:
        here.notify(CHANGED, "once")
        await asyncio.wait_for(event.wait(), 10)


async def test_those_who_leave_are_forgotten(here: Notifications):
    with here.event(CHANGED, "a"):
        pass
    assert not here._waiting
