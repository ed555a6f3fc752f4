"""Admission to a worker: so many run, so many wait, nobody overtakes."""

import asyncio
import random
from collections.abc import Callable

import pytest

from atelier.contracts.errors import Draining, NoFreeSlot
from shared.worker.slots import Slots


def accepting(total: int = 1, waiting_limit: int = 2) -> Slots:
    slots = Slots(total, waiting_limit)
    slots.accept()
    return slots


async def occupy(slots: Slots, until: asyncio.Event, note: Callable[[], None] = lambda: None) -> None:
    async with slots.hold():
        note()
        await until.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_nothing_is_admitted_before_the_model_has_loaded() -> None:
    with pytest.raises(Draining):
        async with Slots(1, 0).hold():
            pass


async def test_as_many_run_as_there_are_slots_and_the_rest_wait() -> None:
    slots, until = accepting(total=2, waiting_limit=2), asyncio.Event()
    jobs = [asyncio.create_task(occupy(slots, until)) for _ in range(4)]
    await settle()
    assert (slots.running, slots.waiting, slots.free, slots.busy) == (2, 2, 0, True)
    until.set()
    await asyncio.gather(*jobs)
    assert (slots.running, slots.waiting, slots.free, slots.busy) == (0, 0, 2, False)


async def test_one_more_than_may_wait_is_sent_away_at_once() -> None:
    slots, until = accepting(total=1, waiting_limit=1), asyncio.Event()
    jobs = [asyncio.create_task(occupy(slots, until)) for _ in range(2)]
    await settle()
    with pytest.raises(NoFreeSlot, match="all 1 slots are taken and 1 jobs wait"):
        await asyncio.wait_for(occupy(slots, until), 1)
    until.set()
    await asyncio.gather(*jobs)


async def test_those_who_wait_are_served_in_the_order_they_came() -> None:
    slots, until, order = accepting(waiting_limit=5), asyncio.Event(), list[int]()
    jobs = [asyncio.create_task(occupy(slots, until, lambda n=n: order.append(n))) for n in range(5)]
    await settle()
    until.set()
    await asyncio.gather(*jobs)
    assert order == [0, 1, 2, 3, 4]


async def test_draining_refuses_new_work_and_lets_accepted_work_end() -> None:
    slots, until, order = accepting(), asyncio.Event(), list[int]()
    jobs = [asyncio.create_task(occupy(slots, until, lambda n=n: order.append(n))) for n in range(2)]
    await settle()
    slots.drain()
    assert (slots.draining, slots.accepting) == (True, False)
    with pytest.raises(Draining):
        await occupy(slots, until)
    until.set()
    await asyncio.gather(*jobs)
    assert order == [0, 1]


async def test_changed_is_set_by_every_change() -> None:
    slots, until = accepting(), asyncio.Event()
    for act in (slots.accept, slots.drain):
        before = slots.changed
        act()
        assert before.is_set()
        assert not slots.changed.is_set()
    slots, before = accepting(), slots.changed
    before = slots.changed
    job = asyncio.create_task(occupy(slots, until))
    await settle()
    assert before.is_set()
    before = slots.changed
    until.set()
    await job
    assert before.is_set()


async def test_cancelling_at_any_moment_loses_no_slot() -> None:
    slots, most, draw = accepting(total=2, waiting_limit=50), 0, random.Random(7)

    async def job() -> None:
        nonlocal most
        async with slots.hold():
            most = max(most, slots.running)
            await asyncio.sleep(draw.random() / 500)

    jobs = [asyncio.create_task(job()) for _ in range(50)]
    for chosen in draw.sample(jobs, 30):
        await asyncio.sleep(draw.random() / 500)
        chosen.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    assert (slots.running, slots.waiting, slots.free, slots.busy, most) == (0, 0, 2, False, 2)


async def test_a_job_that_fails_gives_its_slot_back() -> None:
    slots = accepting()
    with pytest.raises(ZeroDivisionError):
        async with slots.hold():
            raise ZeroDivisionError
    assert slots.free == 1
