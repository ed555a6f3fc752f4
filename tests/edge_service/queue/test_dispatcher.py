"""What a replica does about the jobs of others."""

import asyncio
from typing import Any, cast

import pytest

from atelier.contracts.errors import DatabaseUnavailable
from edge_service.adapters.notifications import Notifications
from edge_service.fleet import Fleet
from edge_service.queue import dispatcher as module
from edge_service.queue.dispatcher import Dispatcher


class Leases:
    """Leases of replicas that have all lost them, in a database that is away at first."""

    def __init__(self) -> None:
        self.away, self.looked = True, 0

    async def expire(self) -> None:
        if self.away:
            raise DatabaseUnavailable("away")

    async def take_over(self) -> list[object]:
        self.looked += 1
        return []


class Nothing:
    """No jobs of our own."""

    async def renew(self) -> None: ...

    async def flush(self) -> None: ...


async def test_after_an_absence_of_the_database_others_may_renew_before_their_jobs_are_taken_over(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.3)
    leases, nothing = Leases(), cast(Any, Nothing())
    dispatcher = Dispatcher(cast(Any, leases), nothing, Fleet([]), Notifications(), nothing)
    dispatcher.start()
    await asyncio.sleep(0.05)
    leases.away = False
    await asyncio.sleep(0.15)
    assert leases.looked == 0
    await asyncio.sleep(0.4)
    assert leases.looked > 0
    await dispatcher.close(0)
