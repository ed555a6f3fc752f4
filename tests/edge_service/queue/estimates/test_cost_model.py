import asyncio
import math
import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from atelier.contracts.errors import DatabaseUnavailable
from edge_service.accounts.quotas import QUOTAS, quota_values
from edge_service.adapters.database import Database, fetch_all
from edge_service.domain.job_types import job_types
from edge_service.domain.kinds import WorkerJob, Workload, kind_of
from edge_service.queue.estimates.cost_model import MAX_PRICED, MAX_SAMPLES, REPRICED_AT_ONCE, CostModel, _Priced
from edge_service.queue.estimates.first_guesses import first_guesses
from edge_service.queue.estimates.statistics import deviation, measured, together
from edge_service.queue.rows import Lease
from tests.kit.cost_jobs import chat, defaults, sdxl
from tests.kit.job_tables import PLENTY


def lease_of(type_name: str = "sdxl_image_fast", job: WorkerJob | None = None, cost: float = 1.0) -> Lease:
    job = job or defaults(type_name)
    worker_type = job_types()[type_name].worker_type
    kind = kind_of(job).workload(job).name
    return Lease(
        job_id="a", owner="ann", type_name=type_name, worker_type=worker_type, attempt=1, job=job,
        deadline=datetime.now(UTC), interactive=False, kind=kind, cost=cost, last_sequence=1,
    )  # fmt: skip


@pytest.fixture
async def costs(database: Database) -> CostModel:
    loaded = CostModel(database)
    await loaded.load()
    return loaded


async def rows(database: Database, query: str) -> list[Any]:
    async with database.connection() as connection:
        return await fetch_all(connection, query, [])


async def learned(
    costs: CostModel, seconds: float, samples: int = 1, worker: str = "worker", lease: Lease | None = None
):
    for _ in range(samples):
        costs.learn(lease or lease_of(), worker, seconds)
    await costs.flush()


def estimated_seconds(costs: CostModel, job: WorkerJob | None = None, type_name: str = "sdxl_image_fast") -> float:
    return costs.estimate(job or defaults(type_name)).seconds


def test_every_job_type_has_a_first_guess_of_some_seconds():
    costs = CostModel(Database())
    for name in job_types():
        cost = costs.estimate(chat() if name == "chat_turn" else defaults(name))
        assert 0.1 < cost.seconds < 600
        assert (cost.samples, cost.kind.split()[0]) == (0, name)


async def test_a_first_guess_gives_way_to_the_first_job(costs: CostModel):
    guess = costs.estimate(sdxl())
    assert guess.seconds == pytest.approx(
        first_guesses().seconds_per_unit["sdxl"] * kind_of(sdxl()).workload(sdxl()).units
    )
    assert guess.spread > 2 * guess.seconds
    await learned(costs, 42.0)
    cost = costs.estimate(sdxl())
    assert cost.seconds == pytest.approx(42, rel=0.05)
    assert (cost.samples, cost.spread < guess.spread * 42 / guess.seconds) == (1, True)


async def test_a_kind_without_samples_takes_what_its_work_takes_on_such_workers(costs: CostModel):
    await learned(costs, 42.0, samples=5)
    cost = costs.estimate(sdxl(steps=30))
    assert cost.seconds == pytest.approx(84, rel=0.01)
    assert cost.samples == 0
    assert cost.spread == pytest.approx(deviation(84, math.log(2)), rel=0.01)


async def test_another_worker_type_learns_nothing_from_it(costs: CostModel):
    before = estimated_seconds(costs, type_name="video_fast")
    await learned(costs, 42.0)
    assert estimated_seconds(costs, type_name="video_fast") == before


async def test_what_is_learned_outlives_the_process_and_reaches_other_replicas(costs: CostModel, database: Database):
    other = CostModel(database)
    await other.load()
    await learned(costs, 42.0)
    await other.flush()
    later = CostModel(database)
    await later.load()
    assert estimated_seconds(other) == estimated_seconds(later) == estimated_seconds(costs)
    assert estimated_seconds(later) == pytest.approx(42, rel=0.05)


async def test_replicas_that_learn_at_once_merge_exactly(database: Database):
    dice = random.Random(3)
    durations = [dice.lognormvariate(2, 0.4) for _ in range(40)]
    replicas = [CostModel(database) for _ in range(4)]
    for number, seconds in enumerate(durations):
        replicas[number % 4].learn(lease_of(), "worker", seconds)
    await asyncio.gather(*(replica.flush() for replica in replicas))
    expected = together(map(measured, durations))
    (row,) = await rows(database, "SELECT * FROM costs WHERE kind <> worker_type")
    assert (row["samples"], row["log_mean"]) == (40, pytest.approx(expected.log_mean))
    assert row["log_m2"] == pytest.approx(expected.log_m2)


async def test_a_new_model_is_learned_soon(costs: CostModel, database: Database):
    await learned(costs, 100.0, samples=10 * MAX_SAMPLES)
    for _ in range(10):
        await learned(costs, 10.0, samples=MAX_SAMPLES // 5)
    assert estimated_seconds(costs) < 25
    (row,) = await rows(database, "SELECT samples FROM costs WHERE kind <> worker_type")
    assert row["samples"] == MAX_SAMPLES


async def test_a_worker_that_is_gone_fades(costs: CostModel, database: Database):
    await learned(costs, 100.0, samples=20, worker="gone")
    async with database.connection() as connection:
        await connection.execute("UPDATE costs SET updated = updated - interval '10 days'")
    costs = CostModel(database)
    await costs.load()
    assert estimated_seconds(costs) == pytest.approx(100, rel=0.05)
    await learned(costs, 10.0, worker="new")
    assert estimated_seconds(costs) == pytest.approx(10, rel=0.1)


async def test_what_nobody_learned_about_for_long_is_forgotten(costs: CostModel, database: Database):
    await learned(costs, 100.0)
    async with database.connection() as connection:
        await connection.execute("UPDATE costs SET updated = updated - interval '100 days'")
    await CostModel(database).load()
    assert await rows(database, "SELECT * FROM costs") == []


async def test_nothing_is_lost_while_the_database_is_away(database_url: str):
    database = Database()
    costs = CostModel(database)
    costs.learn(lease_of(), "worker", 42.0)
    with pytest.raises(DatabaseUnavailable):
        await costs.flush()
    costs.learn(lease_of(), "worker", 42.0)
    await database.open(database_url)
    await costs.flush()
    assert costs.estimate(sdxl()).samples == 2
    await costs.flush()
    assert costs.estimate(sdxl()).samples == 2
    await database.close()


async def test_nothing_is_lost_if_a_statement_fails(costs: CostModel, database: Database):
    costs.learn(lease_of(cost=10.0), "worker", 42.0)
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE costs RENAME TO hidden")
        with pytest.raises(Exception, match="costs"):
            await costs.flush()
        await connection.execute("ALTER TABLE hidden RENAME TO costs")
    await submit(database, 10.0)
    await costs.flush()
    assert costs.estimate(sdxl()).samples == 1
    assert await rows(database, "SELECT vtime FROM shares") == [{"vtime": 32.0}]


async def test_speed_is_unknown_until_two_workers_did_the_same(costs: CostModel):
    assert costs.speed("fast") is None
    await learned(costs, 10.0, samples=5, worker="fast")
    await learned(costs, 20.0, samples=5, worker="slow", lease=lease_of(job=sdxl(steps=20)))
    assert costs.speed("fast") is None
    await learned(costs, 20.0, samples=2, worker="slow")
    assert costs.speed("fast") is None


async def test_speed_is_measured_over_what_workers_have_in_common(costs: CostModel):
    await learned(costs, 10.0, samples=5, worker="fast")
    await learned(costs, 20.0, samples=5, worker="slow")
    fast, slow = costs.speed("fast"), costs.speed("slow")
    assert fast is not None
    assert slow is not None
    assert fast / slow == pytest.approx(2)
    assert fast * slow == pytest.approx(1)


async def test_equally_fast_workers_are_average_whatever_each_does_besides(costs: CostModel):
    await learned(costs, 10.0, samples=5, worker="one")
    await learned(costs, 10.0, samples=5, worker="two")
    await learned(costs, 600.0, samples=5, worker="two", lease=lease_of(job=sdxl(steps=20)))
    assert (costs.speed("one"), costs.speed("two")) == (pytest.approx(1), pytest.approx(1))


async def submit(database: Database, cost: float, kind: str = "", owner: str = "ann", priority: int = 0, job: str = ""):
    job_id, kind = job or f"job_{random.randrange(10**12)}", kind or kind_of(sdxl()).workload(sdxl()).name
    values = [job_id, owner, "sdxl_image_fast", "sdxl", False, b"", b"", 3600.0, priority, kind, cost, 1.0, 0, [], 1,
              None, False, None, "", b"", b"", 10**6, 10**6, 10**6, *quota_values(PLENTY)]  # fmt: skip
    async with database.connection() as connection:
        await connection.execute(f"SELECT FROM submit_job({', '.join(['%s'] * 24)}, {QUOTAS})", values)


async def vtimes(database: Database) -> dict[tuple[str, int], float]:
    found = await rows(database, "SELECT owner, priority, vtime FROM shares")
    return {(row["owner"], row["priority"]): row["vtime"] for row in found}


async def test_an_owner_pays_what_the_job_took_on_all_lines(costs: CostModel, database: Database):
    for owner, priority in (("ann", 0), ("ann", 5), ("bob", 0)):
        await submit(database, 10.0, owner=owner, priority=priority)
    costs.learn(lease_of(cost=10.0), "worker", 42.0)
    costs.learn(replace(lease_of(cost=10.0), owner="bob"), "worker", 3.0)
    await costs.flush()
    await costs.flush()
    assert await vtimes(database) == {("ann", 0): 32.0, ("ann", 5): 32.0, ("bob", 0): -7.0}


async def test_an_interactive_turn_is_learned_from_and_not_charged(costs: CostModel, database: Database):
    await submit(database, 10.0)
    costs.learn(replace(lease_of(cost=10.0), interactive=True), "worker", 42.0)
    await costs.flush()
    assert await vtimes(database) == {("ann", 0): 0.0}
    assert costs.estimate(sdxl()).samples == 1


async def test_queued_jobs_get_an_estimate_that_moved(costs: CostModel, database: Database):
    await submit(database, 1.0, job="moved")
    await submit(database, 1.0, job="other", kind="another kind")
    await learned(costs, 42.0)
    found = {row["id"]: row for row in await rows(database, "SELECT id, cost, spread, samples FROM jobs")}
    cost = costs.estimate(sdxl())
    assert (found["moved"]["cost"], found["moved"]["spread"]) == (
        pytest.approx(cost.seconds),
        pytest.approx(cost.spread),
    )
    assert (found["moved"]["samples"], found["other"]["cost"]) == (1, 1.0)


async def test_queued_jobs_of_kinds_without_samples_follow_the_rate(costs: CostModel, database: Database):
    job = sdxl(steps=30)
    cost = costs.estimate(job)
    await submit(database, cost.seconds, kind=cost.kind, job="a")
    await learned(costs, 42.0, samples=5)
    (row,) = await rows(database, "SELECT cost FROM jobs WHERE id = 'a'")
    assert row["cost"] == pytest.approx(84, rel=0.01)


@pytest.mark.parametrize("units", [0.0, math.inf, math.nan, None])
async def test_a_kind_that_cannot_be_repriced_keeps_no_other_from_it(costs: CostModel, database: Database, units: Any):
    costs._see(_Priced("sdxl", Workload("broken", units), 1.0, 1.0))
    await submit(database, 1.0, kind="broken", job="broken")
    await submit(database, 1.0, job="moved")
    await learned(costs, 42.0)
    found = {row["id"]: row["cost"] for row in await rows(database, "SELECT id, cost FROM jobs")}
    assert found == {"broken": 1.0, "moved": pytest.approx(estimated_seconds(costs))}


async def test_a_kind_that_was_told_to_take_no_time_is_repriced(costs: CostModel, database: Database):
    await submit(database, 0.0, job="moved")
    await learned(costs, 42.0, lease=lease_of(cost=0.0))
    assert await rows(database, "SELECT cost FROM jobs") == [{"cost": pytest.approx(estimated_seconds(costs))}]


async def test_a_worker_type_that_cannot_be_repriced_keeps_no_other_from_it(costs: CostModel, database: Database):
    # PostgreSQL refuses text with a NUL.
    costs._see(_Priced("wan\0", Workload("broken", 1.0), 1.0, 1.0))
    costs._known["broken"] = measured(42.0)
    await submit(database, 1.0)
    await learned(costs, 42.0)
    assert await rows(database, "SELECT cost FROM jobs") == [{"cost": pytest.approx(estimated_seconds(costs))}]


async def test_an_estimate_that_hardly_moved_is_left_alone(costs: CostModel, database: Database):
    await learned(costs, 40.0, samples=20)
    cost = costs.estimate(sdxl())
    await submit(database, cost.seconds, job="a")
    await learned(costs, 44.0, samples=2)
    (row,) = await rows(database, "SELECT cost FROM jobs")
    assert row["cost"] == cost.seconds != estimated_seconds(costs)


async def test_a_running_job_keeps_the_cost_it_was_charged(costs: CostModel, database: Database):
    await submit(database, 1.0)
    async with database.connection() as connection:
        await connection.execute("SELECT FROM lease_jobs('sdxl', 'a', 'w', '{}', 1, 1, interval '1 minute', 60)")
    await learned(costs, 42.0)
    assert [row["cost"] for row in await rows(database, "SELECT cost FROM jobs")] == [1.0]


def test_memory_does_not_grow_with_the_kinds_that_are_asked_for():
    costs = CostModel(Database())
    for steps in range(MAX_PRICED + 100):
        costs.estimate(sdxl(steps=steps + 1))
    assert len(costs._priced) == MAX_PRICED


async def test_a_deep_queue_is_repriced_a_part_at_a_time(costs: CostModel, database: Database, monkeypatch):
    monkeypatch.setattr("edge_service.queue.estimates.cost_model.REPRICED_AT_ONCE", 2)
    assert REPRICED_AT_ONCE > 2
    for _ in range(5):
        await submit(database, 1.0)
    await learned(costs, 42.0)
    counts = []
    for _ in range(4):
        counts.append((await rows(database, "SELECT count(*) FROM jobs WHERE cost > 1"))[0]["count"])
        await costs.flush()
    assert counts == [2, 4, 5, 5]


async def test_corrections_leases_and_retries_of_one_owner_do_not_deadlock(costs: CostModel, database: Database):
    """Each takes several lines of shares; a deadlock would raise."""
    for number in range(60):
        await submit(database, 1.0, owner="ab"[number % 2], priority=number % 5)

    async def lease_and_retry() -> None:
        for _ in range(15):
            async with database.connection() as connection:
                query = "SELECT * FROM lease_jobs('sdxl', 'a', 'w', '{}', 3, 1000, interval '1 minute', 60)"
                for row in await fetch_all(connection, query, []):
                    values = [row["id"], row["attempt"]]
                    await connection.execute("SELECT requeue_job(%s, %s, NULL, NULL, 0, true, '')", values)

    async def correct() -> None:
        for _ in range(60):
            for owner in "ab":
                costs.learn(replace(lease_of(), owner=owner), "worker", 2.0)
            await costs.flush()

    await asyncio.gather(correct(), *(lease_and_retry() for _ in range(6)))
