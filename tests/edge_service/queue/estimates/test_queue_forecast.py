import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from atelier.contracts.errors import DatabaseUnavailable
from edge_service.accounts.quotas import QUOTAS, quota_values
from edge_service.adapters.database import Connection, Database, fetch_all
from edge_service.queue.estimates.queue_forecast import QueueForecast
from edge_service.queue.estimates.statistics import GUESS_LOG_SPREAD, deviation
from tests.kit.job_tables import PLENTY

ids = itertools.count()


async def submit(
    database: Database,
    owner: str = "ann",
    *,
    priority: int = 0,
    cost: float = 10,
    spread: float = 1,
    samples: int = 50,
    worker_type: str = "sdxl",
    interactive: bool = False,
    age: float = 0,
) -> str:
    """Stores a job that has waited for `age` seconds already, and returns its id."""
    job_id = f"job_{next(ids):06}"
    values = [job_id, owner, "a_type", worker_type, interactive, b"", b"", 3600.0, priority, "a kind", float(cost),
              float(spread), samples, [], 1, None, False, None, "", b"", b"", 10**6, 10**6, 10**6,
              *quota_values(PLENTY)]  # fmt: skip
    async with database.connection() as connection:
        await connection.execute(f"SELECT FROM submit_job({', '.join(['%s'] * 24)}, {QUOTAS})", values)
        if age:
            await wait_longer(connection, job_id, age)
    return job_id


async def wait_longer(connection: Connection, job_id: str, seconds: float) -> None:
    await connection.execute(
        "UPDATE jobs SET created = created - %s * interval '1 second', not_before = 'epoch' WHERE id = %s",
        [seconds, job_id],
    )
    await connection.execute(
        "UPDATE shares SET head = (SELECT min(created) FROM jobs WHERE (owner, worker_type, priority)"
        " = (shares.owner, shares.worker_type, shares.priority) AND status = 'queued' AND NOT interactive)"
    )


async def lease(database: Database, worker_type: str = "sdxl", ageing: float = 1e6) -> str | None:
    """Leases one job; it begins now."""
    async with database.connection() as connection:
        query = "SELECT id FROM lease_jobs(%s, 'address', 'worker', '{}', 1, 1000000, interval '1 minute', %s)"
        rows = await fetch_all(connection, query, [worker_type, ageing])
    return str(rows[0]["id"]) if rows else None


async def end(database: Database, job_id: str) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE jobs SET status = 'failed', ended = now(), lease_expires = NULL WHERE id = %s", [job_id]
        )


def forecasts(database: Database, slots: int = 1, ageing: float = 1e6) -> QueueForecast:
    return QueueForecast(database, lambda worker_type: slots, lambda: ageing)


async def predicted(database: Database, job_ids: list[str], ageing: float = 1e6) -> list[str]:
    """The jobs in the order of their positions, which have no gap."""
    found = await forecasts(database, ageing=ageing).of(job_ids)
    positions = {found[job_id].position: job_id for job_id in job_ids}
    assert sorted(position or 0 for position in positions) == list(range(1, len(job_ids) + 1))
    return [positions[place] for place in range(1, len(job_ids) + 1)]


async def actual(database: Database, ageing: float = 1e6) -> list[str]:
    """The jobs in the order in which they are leased, one by one."""
    order = []
    while job_id := await lease(database, ageing=ageing):
        order.append(job_id)
    return order


def seconds_from_now(moment: Timestamp) -> float:
    return (moment.ToDatetime(UTC) - datetime.now(UTC)) / timedelta(seconds=1)


async def queue_of_chance(database: Database, seed: int, ages: list[int], ageing: float) -> list[str]:
    """Many owners, priorities, costs and ages, in levels; some jobs are leased and some end before anyone asks."""
    dice = random.Random(seed)
    stored = []
    for _ in range(60):
        # Every age is some minutes after one level and some before the next, so that none rises during the test.
        age = dice.choice(ages) * ageing + dice.uniform(100, 400)
        stored.append(
            await submit(
                database,
                dice.choice("abcdefg"),
                priority=dice.choice([0, 0, 5, 9]),
                age=age,
                cost=dice.choice([0.5, 1.0, dice.uniform(0.1, 40)]),
            )
        )
        if dice.random() < 0.3 and (leased := await lease(database, ageing=ageing)):
            stored.remove(leased)
    cancelled = dice.sample(stored, 5)
    for job_id in cancelled:
        await end(database, job_id)
    return [job_id for job_id in stored if job_id not in cancelled]


@pytest.mark.parametrize("seed", range(6))
async def test_positions_are_the_order_in_which_jobs_are_leased(database: Database, seed: int):
    waiting = await queue_of_chance(database, seed, [0], ageing=600)
    assert await predicted(database, waiting, 600) == await actual(database, 600)


@pytest.mark.parametrize("seed", range(6))
async def test_positions_are_almost_that_order_where_lines_have_aged(database: Database, seed: int):
    """A line that rose to a higher priority falls again when that of it is done, which depends on who is how fast."""
    waiting = await queue_of_chance(database, seed, [0, 0, 0, 2, 4, 8], ageing=600)
    foreseen, order = await predicted(database, waiting, 600), await actual(database, 600)
    moved = [abs(place - order.index(job_id)) for place, job_id in enumerate(foreseen)]
    assert sum(moved) / len(moved) < 2
    async with database.connection() as connection:
        lines = await fetch_all(connection, "SELECT owner, priority, id FROM jobs ORDER BY created, id", [])
    for line in {(row["owner"], row["priority"]) for row in lines}:
        fifo = [row["id"] for row in lines if (row["owner"], row["priority"]) == line and row["id"] in foreseen]
        assert fifo == [job_id for job_id in foreseen if job_id in fifo]


async def test_positions_within_one_owners_line_are_first_in_first_out(database: Database):
    stored = [await submit(database, cost=cost) for cost in (5, 1, 9, 3)]
    assert await predicted(database, stored) == stored


async def test_a_thousand_jobs_of_another_owner_do_not_push_the_first_one_back(database: Database):
    for _ in range(100):
        await submit(database, "bob")
    first = await submit(database, "ann")
    assert (await forecasts(database).of([first]))[first].position in (1, 2)


async def test_an_owner_who_used_much_comes_after_one_who_used_little(database: Database):
    used, unused = [await submit(database, "ann", cost=50) for _ in range(2)], await submit(database, "bob", cost=50)
    assert await lease(database) == used[0]
    assert await predicted(database, [used[1], unused]) == [unused, used[1]]


async def test_jobs_of_other_worker_types_are_not_in_the_way(database: Database):
    await submit(database, worker_type="wan")
    ours, theirs = await submit(database), await submit(database, "bob", worker_type="wan")
    found = await forecasts(database).of([ours, theirs])
    assert (found[ours].position, found[theirs].position) == (1, 2)


async def test_a_job_that_is_not_open_or_waits_for_its_caller_has_no_forecast(database: Database):
    ended, interactive = await submit(database), await submit(database, interactive=True)
    await end(database, ended)
    assert await forecasts(database).of([ended, interactive, "no_such_job"]) == {}


async def test_nothing_asked_is_nothing_answered():
    assert await forecasts(Database()).of([]) == {}


async def test_the_next_job_of_a_free_worker_starts_now(database: Database):
    job_id = await submit(database, cost=10, spread=1)
    estimate = (await forecasts(database).of([job_id]))[job_id].estimate
    assert estimate is not None
    assert seconds_from_now(estimate.start) == pytest.approx(0, abs=2)
    assert seconds_from_now(estimate.finish) == pytest.approx(10, abs=2)
    assert 7 < seconds_from_now(estimate.finish_earliest) + 1 < 10 < seconds_from_now(estimate.finish_latest) < 13


async def test_a_job_starts_when_the_work_before_it_is_done(database: Database):
    running, first, second = [await submit(database, cost=cost) for cost in (100, 40, 10)]
    assert await lease(database) == running
    found = await forecasts(database).of([first, second])
    first_estimate, second_estimate = found[first].estimate, found[second].estimate
    assert first_estimate is not None
    assert second_estimate is not None
    assert seconds_from_now(first_estimate.start) == pytest.approx(100, abs=3)
    assert seconds_from_now(second_estimate.start) == pytest.approx(140, abs=3)
    assert seconds_from_now(second_estimate.finish) == pytest.approx(150, abs=3)


async def test_a_running_job_has_an_end_that_comes_nearer(database: Database):
    job_id = await submit(database, cost=100)
    await lease(database)
    async with database.connection() as connection:
        await connection.execute("UPDATE attempts SET started = started - interval '70 seconds'")
    forecast = (await forecasts(database).of([job_id]))[job_id]
    assert forecast.estimate is not None
    assert forecast.position is None
    assert not forecast.estimate.HasField("start")
    assert seconds_from_now(forecast.estimate.finish) == pytest.approx(30, abs=3)


async def test_a_job_that_takes_too_long_still_needs_a_while(database: Database):
    job_id = await submit(database, cost=100)
    await lease(database)
    async with database.connection() as connection:
        await connection.execute("UPDATE attempts SET started = started - interval '300 seconds'")
    estimate = (await forecasts(database).of([job_id]))[job_id].estimate
    assert estimate is not None
    assert seconds_from_now(estimate.finish) == pytest.approx(30, abs=3)


async def test_an_interactive_turn_takes_a_slot_too(database: Database):
    turn = await submit(database, interactive=True, cost=30)
    async with database.connection() as connection:
        await connection.execute(
            "SELECT FROM lease_job(%s, 'sdxl', 'address', 'worker', 1, interval '1 minute')", [turn]
        )
    job_id = await submit(database)
    estimate = (await forecasts(database).of([job_id]))[job_id].estimate
    assert estimate is not None
    assert seconds_from_now(estimate.start) == pytest.approx(30, abs=3)


async def test_without_a_worker_there_is_a_position_and_no_estimate(database: Database):
    job_id = await submit(database)
    forecast = (await forecasts(database, slots=0).of([job_id]))[job_id]
    assert (forecast.position, forecast.estimate) == (1, None)


async def test_the_range_is_wide_while_little_is_known(database: Database):
    async def width(samples: int, spread: float) -> float:
        jobs = [await submit(database, cost=10, spread=spread, samples=samples) for _ in range(21)]
        estimate = (await forecasts(database).of(jobs))[jobs[-1]].estimate
        assert estimate is not None
        assert estimate.samples == samples
        for job_id in jobs:
            await end(database, job_id)
        return seconds_from_now(estimate.start_latest) / seconds_from_now(estimate.start_earliest)

    guessed, known = await width(0, deviation(10, GUESS_LOG_SPREAD)), await width(50, 1)
    # Of 200 s: a guess by a factor of three up or down says less than one; twenty known ones even each other out.
    assert guessed > 9
    assert known < 1.3


class Counted(Database):
    """Counts the connections that are in use."""

    def __init__(self) -> None:
        super().__init__()
        self.uses = self.at_once = self.most_at_once = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        self.uses, self.at_once = self.uses + 1, self.at_once + 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            async with super().connection() as connection:
                yield connection
        finally:
            self.at_once -= 1


@pytest.fixture
async def counted(database: Database, database_url: str) -> AsyncIterator[Counted]:
    opened = Counted()
    await opened.open(database_url)
    yield opened
    await opened.close()


async def test_those_who_ask_together_share_a_query(counted: Counted, database: Database):
    stored = [await submit(database) for _ in range(20)]
    asking = forecasts(counted)
    answers = await asyncio.gather(*(asking.of([job_id]) for job_id in stored))
    assert [answer[job_id].position for job_id, answer in zip(stored, answers, strict=True)] == list(range(1, 21))
    assert counted.uses == 1


async def test_however_many_ask_only_one_query_runs(counted: Counted, database: Database):
    job_id = await submit(database)
    asking = forecasts(counted)

    async def poll() -> None:
        for _ in range(10):
            assert (await asking.of([job_id]))[job_id].position == 1

    await asyncio.gather(*(poll() for _ in range(50)))
    assert counted.most_at_once == 1
    assert counted.uses < 100


async def test_the_database_rests_as_long_as_it_worked(database_url: str):
    spans = []

    class Slow(Database):
        @asynccontextmanager
        async def connection(self) -> AsyncIterator[Connection]:
            began = monotonic()
            async with super().connection() as connection:
                await asyncio.sleep(0.3)
                yield connection
            spans.append((began, monotonic()))

    slow = Slow()
    await slow.open(database_url)
    asking = forecasts(slow)
    for _ in range(2):
        await asking.of(["a"])
    (_, first_end), (second_begin, _) = spans
    assert second_begin - first_end > 0.25
    await slow.close()


async def test_one_who_goes_away_does_not_take_the_answer_from_the_others(database: Database):
    job_id = await submit(database)
    asking = forecasts(database)
    gone, staying = asyncio.create_task(asking.of([job_id])), asyncio.create_task(asking.of([job_id]))
    await asyncio.sleep(0)
    gone.cancel()
    assert job_id in await staying


async def test_a_database_that_is_away_is_told_and_the_next_question_is_answered(database_url: str):
    database = Database()
    asking = forecasts(database)
    with pytest.raises(DatabaseUnavailable):
        await asking.of(["a"])
    await database.open(database_url)
    assert await asking.of(["a"]) == {}
    await database.close()


async def test_ageing_may_change_without_a_restart(database: Database):
    old, urgent = await submit(database, age=100), await submit(database, priority=5)
    ageing = 1e6
    seconds: Callable[[], float] = lambda: ageing  # noqa: E731
    asking = QueueForecast(database, lambda worker_type: 1, seconds)
    assert (await asking.of([urgent]))[urgent].position == 1
    ageing = 10
    assert (await asking.of([old]))[old].position == 1
