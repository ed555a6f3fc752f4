"""What an account may use, counted by two replicas on one database. Old days are inserted, never waited for."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from atelier.contracts.errors import QueueFull, QuotaExceeded
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.accounts.quotas import Usage
from edge_service.accounts.tiers import Limits
from edge_service.adapters.database import Database
from edge_service.adapters.notifications import Notifications
from edge_service.domain.plan import Plan
from edge_service.queue.leases import Leases
from edge_service.queue.rows import Lease, WorkerSlot
from edge_service.queue.store import Store
from tests.kit.job_tables import MANY, PLENTY, SLOT, Jobs, asset, limits, plan
from tests.kit.planned import planned as planned_job

ERROR = job_pb2.JobError(reason=job_pb2.ERROR_REASON_ENGINE_FAILED, message="broken")
WAN_SLOT = WorkerSlot("wan", "worker:2", "wan_worker_001", 100)
CROWD = 64


@pytest.fixture
async def replicas(jobs: Jobs, database_url: str) -> AsyncIterator[Sequence[Jobs]]:
    """Two replicas of the edge, as the database sees them."""
    other, notifications = Database(), Notifications()
    await other.open(database_url)
    yield jobs, Jobs(Store(other, notifications), Leases(other, notifications), other)
    await other.close()


def video(**fields: object) -> Plan:
    """A planned video."""
    request = from_spec_dict(edge_pb2.SubmitJobRequest, {"wan": {"type": "video_fast", "prompt": "a fox"}})
    return replace(planned_job(request), priority=0, **fields)  # type: ignore[arg-type]


async def usage(jobs: Jobs, owner: str = "ann", period: str = "day") -> Usage:
    return await jobs.store.accounts.usage(owner, PLENTY.model_copy(update={"period": period}))


async def stop_the_minute(jobs: Jobs, owner: str = "ann") -> None:
    """Lets no minute end while a test counts its requests: the newest minute is one to come."""
    await jobs.execute(
        "INSERT INTO usage VALUES (%s, (now() AT TIME ZONE 'UTC')::date, 0, 0, now() + interval '1 hour', 0)"
        " ON CONFLICT (owner, day) DO UPDATE SET minute = excluded.minute",
        owner,
    )  # fmt: skip


async def exceeded(jobs: Jobs, few: Limits, planned: Plan | None = None) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as refused:
        await jobs.submit(planned=planned, limits=few)
    return refused.value


@pytest.mark.parametrize("interactive", [False, True])
@pytest.mark.parametrize(
    ("ten", "name"),
    [
        (limits(requests_per_minute=10), "requests_per_minute"),
        (limits(jobs_per_day=10), "jobs_per_day"),
        (limits(credits_per_period=30), "credits"),
    ],
)
async def test_a_quota_is_exact_over_two_replicas_however_many_come_at_once(
    replicas: Sequence[Jobs], ten: Limits, name: str, interactive: bool
):
    await stop_the_minute(replicas[0])
    submits = (
        replicas[number % 2].submit(planned=plan(credits=3), limits=ten, interactive=interactive)
        for number in range(CROWD)
    )
    outcomes = await asyncio.gather(*submits, return_exceptions=True)
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 10
    assert {outcome.limit for outcome in outcomes if isinstance(outcome, QuotaExceeded)} == {name}
    assert sum(isinstance(outcome, QuotaExceeded) for outcome in outcomes) == CROWD - 10


@pytest.mark.parametrize(
    ("few", "name", "words"),
    [
        (limits(requests_per_minute=2), "requests_per_minute", "2 requests a minute and made 2"),
        (limits(jobs_per_day=2), "jobs_per_day", "2 jobs a day and submitted 2"),
        (limits(credits_per_period=2), "credits", "2 credits, 2 are spent or reserved"),
        (limits(credits_per_period=2, period="month"), "credits", "2 credits, 2 are spent or reserved"),
    ],
)
async def test_a_refusal_says_which_limit_its_size_its_use_and_when_it_resets(
    jobs: Jobs, few: Limits, name: str, words: str
):
    await stop_the_minute(jobs)
    await jobs.submit(limits=few)
    await jobs.submit(limits=few)
    before = await usage(jobs, period=few.quotas.period)
    refused = await exceeded(jobs, few)
    assert refused.limit == name
    assert f"{name}: you may" in refused.message
    assert words in refused.message
    after = await usage(jobs, period=few.quotas.period)
    field = {"requests_per_minute": "minute_ends", "jobs_per_day": "day_ends", "credits": "period_ends"}[name]
    said = re.search(r"it resets at (\S+), in (\d+) s$", refused.message)
    assert said
    assert datetime.fromisoformat(said[1]) in (getattr(before, field), getattr(after, field))
    [left] = await jobs.execute("SELECT extract(epoch FROM %s::timestamptz - now())::float8 AS seconds", said[1])
    assert refused.retry_after_seconds == pytest.approx(left["seconds"], abs=5)
    assert round(refused.retry_after_seconds) == int(said[2])


async def test_quotas_are_each_owners_alone(jobs: Jobs):
    one = limits(jobs_per_day=1, credits_per_period=1)
    await jobs.submit("ann", limits=one)
    await jobs.submit("bob", limits=one)
    await exceeded(jobs, one)


async def test_a_job_that_costs_more_than_is_left_is_refused(jobs: Jobs):
    ten = limits(credits_per_period=10)
    await jobs.submit(planned=plan(credits=6), limits=ten)
    refused = await exceeded(jobs, ten, plan(credits=5))
    assert "10 credits, 6 are spent or reserved" in refused.message
    await jobs.submit(planned=plan(credits=4), limits=ten)


async def test_what_does_not_complete_gives_its_credits_back(jobs: Jobs):
    two = limits(credits_per_period=2)
    cancelled, _ = await jobs.submit(limits=two), await jobs.submit(limits=two)
    await exceeded(jobs, two)
    await jobs.store.cancel("ann", cancelled)
    await jobs.submit(limits=two)
    await exceeded(jobs, two)
    [failed] = await jobs.lease()
    await jobs.leases.fail(failed, "failed", ERROR)
    await jobs.submit(limits=two)
    await exceeded(jobs, two)
    await jobs.execute("UPDATE jobs SET deadline = now() WHERE status = 'queued'")
    await jobs.leases.expire()
    await jobs.submit(limits=two)
    [completed] = await jobs.lease()
    await jobs.complete(completed)
    await jobs.submit(limits=two)
    await exceeded(jobs, two)


async def test_a_job_counts_for_its_day_however_it_ends(jobs: Jobs):
    one = limits(jobs_per_day=1)
    await jobs.store.cancel("ann", await jobs.submit(limits=one))
    assert (await exceeded(jobs, one)).limit == "jobs_per_day"


async def test_a_job_that_runs_again_is_counted_once(jobs: Jobs):
    lease = await jobs.running()
    await jobs.leases.requeue(lease, ERROR, 0, counts=True)
    [again] = await jobs.lease()
    assert (await usage(jobs)).jobs == (await usage(jobs)).credits == 1
    await jobs.complete(again)
    assert (await usage(jobs)).credits == 1


async def test_a_refused_submission_uses_nothing(jobs: Jobs):
    await exceeded(jobs, limits(credits_per_period=2), plan(credits=3))
    with pytest.raises(QueueFull):
        await jobs.submit(limits=limits(0))
    now = await usage(jobs)
    assert (now.jobs, now.credits, now.queued) == (0, 0, 0)
    assert await jobs.execute("SELECT FROM ledger") == []


async def test_a_refused_submission_is_a_request(jobs: Jobs):
    await stop_the_minute(jobs)
    few = limits(of_user=0, requests_per_minute=2)
    for _ in range(2):
        with pytest.raises(QueueFull):
            await jobs.submit(limits=few)
    assert (await exceeded(jobs, few)).limit == "requests_per_minute"
    assert (await usage(jobs)).requests == 2


async def test_the_same_key_is_the_same_job_when_everything_is_used_up(jobs: Jobs):
    await stop_the_minute(jobs)
    one = limits(requests_per_minute=1, jobs_per_day=1, credits_per_period=1)
    first = await jobs.submit(limits=one, key="k")
    assert {await jobs.submit(limits=one, key="k") for _ in range(3)} == {first}
    now = await usage(jobs)
    assert (now.requests, now.jobs, now.credits) == (1, 1, 1)


async def test_requests_without_a_job_are_counted_to_the_unit(replicas: Sequence[Jobs]):
    await stop_the_minute(replicas[0])
    ten = PLENTY.model_copy(update={"requests_per_minute": 10})
    await replicas[0].store.accounts.count_request("ann", ten)
    async with replicas[0].database.transaction() as other:
        # None is counted while this holds the row, however far the others have come by then.
        await other.execute("SELECT FROM usage FOR UPDATE")
        counts = (replicas[number % 2].store.accounts.count_request("ann", ten) for number in range(CROWD))
        counting = asyncio.gather(*counts, return_exceptions=True)
        await asyncio.sleep(0.5)
    assert sum(outcome is None for outcome in await counting) == 9
    assert (await usage(replicas[0])).requests == 10


async def test_a_request_that_was_counted_before_its_job_is_counted_once(jobs: Jobs):
    await stop_the_minute(jobs)
    one = limits(requests_per_minute=1)
    await jobs.store.accounts.count_request("ann", one.quotas)
    await jobs.submit(limits=one, counted=True)
    assert (await usage(jobs)).requests == 1
    assert (await exceeded(jobs, one)).limit == "requests_per_minute"


async def test_a_new_minute_begins_at_nothing(jobs: Jobs):
    await stop_the_minute(jobs)
    two = limits(requests_per_minute=2)
    for _ in range(2):
        await jobs.submit(limits=two)
    await exceeded(jobs, two)
    await jobs.execute("UPDATE usage SET minute = now() - interval '2 minutes'")
    assert (await usage(jobs)).requests == 0
    await jobs.submit(limits=two)
    await stop_the_minute(jobs)
    assert (await usage(jobs)).requests == 1
    await jobs.submit(limits=two)
    assert (await exceeded(jobs, two)).limit == "requests_per_minute"


async def used_before(jobs: Jobs, days: int, count: int = 5, credits: int = 5) -> None:
    await jobs.execute(
        "INSERT INTO usage VALUES ('ann', (now() AT TIME ZONE 'UTC')::date - %s, %s, %s, now() - interval '2 days', 0)",
        days, count, credits,
    )  # fmt: skip


async def test_a_new_day_begins_at_nothing(jobs: Jobs):
    five = limits(jobs_per_day=5, credits_per_period=5)
    await used_before(jobs, 1)
    now = await usage(jobs)
    assert (now.jobs, now.credits) == (0, 0)
    for _ in range(5):
        await jobs.submit(limits=five)
    await exceeded(jobs, five)


async def test_a_month_has_the_use_of_its_days(jobs: Jobs):
    today = datetime.now(UTC).day
    await used_before(jobs, today)  # the last day of the month before
    assert (await usage(jobs, period="month")).credits == 0
    for days in range(1, today):
        await used_before(jobs, days)
    await jobs.submit()
    now = await usage(jobs, period="month")
    assert (now.jobs, now.credits) == (1, 5 * (today - 1) + 1)
    full = limits(credits_per_period=now.credits, period="month")
    assert (await exceeded(jobs, full)).limit == "credits"


async def test_a_refund_goes_to_the_day_of_the_reserve(jobs: Jobs):
    job_id = await jobs.submit(planned=plan(credits=3))
    for table in ("usage SET day = day - 1", "ledger SET time = time - interval '1 day'"):
        await jobs.execute(f"UPDATE {table}")
    await jobs.submit(planned=plan(credits=2))
    await jobs.store.cancel("ann", job_id)
    rows = await jobs.execute("SELECT credits FROM usage ORDER BY day")
    assert [row["credits"] for row in rows] == [0, 2]


async def made(jobs: Jobs) -> Lease:
    lease = await jobs.running()
    await jobs.complete(lease, [asset(lease)])
    return lease


async def test_who_keeps_too_much_submits_nothing_until_it_is_deleted(jobs: Jobs):
    five = limits(storage_bytes=5)
    first = await made(jobs)
    await jobs.submit(limits=five)
    await made(jobs)
    refused = await exceeded(jobs, five)
    assert (refused.limit, "5 bytes of assets and keep 6" in refused.message) == ("storage_bytes", True)
    with pytest.raises(QuotaExceeded):
        await jobs.store.accounts.check_storage("ann", five.quotas.storage_bytes)
    await jobs.store.delete_asset("ann", asset(first).key)
    await jobs.store.accounts.check_storage("ann", five.quotas.storage_bytes)
    await jobs.submit(limits=five)
    assert (await usage(jobs)).bytes == 3


async def test_storage_is_what_the_assets_sum_to_whatever_becomes_of_them(jobs: Jobs):
    leases = [await made(jobs) for _ in range(4)]
    await jobs.store.delete_asset("ann", asset(leases[0]).key)
    await jobs.execute("DELETE FROM assets WHERE deleted IS NOT NULL")
    await jobs.execute("UPDATE assets SET bytes = 10 WHERE job_id = %s", leases[1].job_id)
    await jobs.execute("DELETE FROM assets WHERE job_id = %s", leases[2].job_id)
    [stored] = await jobs.execute("SELECT sum(bytes)::bigint AS bytes FROM assets WHERE deleted IS NULL")
    assert (await usage(jobs)).bytes == stored["bytes"] == 13


async def test_a_check_before_any_work_refuses_what_storing_would_refuse(jobs: Jobs):
    one = limits(jobs_per_day=1)
    await jobs.store.accounts.check("ann", one.quotas, 1)
    await jobs.submit(limits=one)
    with pytest.raises(QuotaExceeded, match="jobs_per_day"):
        await jobs.store.accounts.check("ann", one.quotas, 1)


async def leased(replica: Jobs, slot: WorkerSlot, count: int) -> list[Lease]:
    return await replica.lease(count, slot=slot)


async def test_no_more_jobs_run_than_may_whatever_their_type_and_replica(replicas: Sequence[Jobs]):
    jobs = replicas[0]
    for owner in ("ann", "bob", "eve"):
        for number in range(20):
            await jobs.submit(owner, [plan(), video()][number % 2], limits=limits(max_running=3))
    for _ in range(8):
        calls = (leased(replicas[number % 2], [SLOT, WAN_SLOT][number // 2 % 2], 2) for number in range(16))
        await asyncio.gather(*calls)
        rows = await jobs.execute("SELECT owner, count(*) FROM jobs WHERE lease_expires IS NOT NULL GROUP BY owner")
        assert {row["owner"]: row["count"] for row in rows} == {"ann": 3, "bob": 3, "eve": 3}
        await jobs.execute(
            "UPDATE jobs SET status = 'queued', lease_expires = NULL WHERE id IN"
            " (SELECT id FROM jobs WHERE lease_expires IS NOT NULL ORDER BY random() LIMIT 5)"
        )


async def test_who_runs_as_many_as_they_may_is_passed_over_and_next_when_one_ends(jobs: Jobs):
    one = limits(max_running=1)
    for _ in range(3):
        await jobs.submit("ann", limits=one)
    [first] = await jobs.lease()
    assert first.owner == "ann"
    for _ in range(6):
        await jobs.submit("bob")
    assert [lease.owner for lease in await jobs.lease(3)] == ["bob"] * 3
    await jobs.complete(first)
    assert [lease.owner for lease in await jobs.lease(2)] == ["ann", "bob"]


async def test_who_is_passed_over_earns_no_credit_for_it(jobs: Jobs):
    """When the limit rises, they share from then on, and do not catch up on what their limit kept from them."""
    for _ in range(20):
        await jobs.submit("ann", limits=limits(max_running=1))
        await jobs.submit("bob")
    [ann] = [lease for lease in await jobs.lease(2) if lease.owner == "ann"]
    for _ in range(8):
        [bob] = await jobs.lease()
        assert bob.owner == "bob"
        await jobs.complete(bob)
    await jobs.complete(ann)
    await jobs.submit("ann", limits=MANY)
    owners = [lease.owner for lease in await jobs.lease(6)]
    assert owners.count("ann") in (3, 4)


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled", "given back"])
async def test_whatever_ends_a_run_makes_room_for_the_next(jobs: Jobs, how: str):
    one = limits(max_running=1)
    await jobs.submit(limits=one)
    await jobs.submit(limits=one)
    [lease] = await jobs.lease(2)
    assert await jobs.lease() == []
    await {
        "completed": lambda: jobs.complete(lease),
        "failed": lambda: jobs.leases.fail(lease, "failed", ERROR),
        "cancelled": lambda: jobs.store.cancel("ann", lease.job_id),
        "given back": lambda: jobs.leases.requeue(lease, ERROR, 0, counts=False),
    }[how]()
    assert len(await jobs.lease(2)) == 1


async def test_a_turn_is_no_running_job_and_waits_for_none(jobs: Jobs):
    one = limits(max_running=1)
    await jobs.submit(limits=one)
    assert await jobs.lease()
    turn = await jobs.submit(interactive=True, limits=one)
    assert await jobs.leases.lease_one(turn, SLOT)
    assert ((await usage(jobs)).running, (await usage(jobs)).turns) == (1, 1)


async def test_the_newest_submission_says_how_many_may_run(jobs: Jobs):
    await jobs.submit(limits=limits(max_running=1))
    await jobs.submit(limits=limits(max_running=2))
    assert len(await jobs.lease(2)) == 2


async def end(jobs: Jobs, draw: random.Random, lease: Lease) -> None:
    how = draw.choice(["complete", "fail", "cancel", "requeue"])
    if how == "complete":
        await jobs.complete(lease, [asset(lease)])
    elif how == "fail":
        await jobs.leases.fail(lease, "failed", ERROR)
    elif how == "cancel":
        await jobs.store.cancel("ann", lease.job_id)
    else:
        await jobs.leases.requeue(lease, ERROR, 0, counts=False)


@pytest.mark.parametrize("seed", range(3))
async def test_use_is_what_ledger_jobs_and_assets_say_and_never_negative(replicas: Sequence[Jobs], seed: int):
    """Whatever comes in whatever order: the tables refuse a negative use, and the counters agree with the rows."""
    draw, jobs = random.Random(seed), replicas[0]

    async def client(replica: Jobs) -> None:
        for _ in range(12):
            few = limits(requests_per_minute=60, credits_per_period=25, jobs_per_day=40, max_running=3)
            outcome = await asyncio.gather(
                replica.submit(planned=plan(credits=draw.randint(0, 6)), limits=few), return_exceptions=True
            )
            assert isinstance(outcome[0], str | QuotaExceeded), outcome
            for lease in await replica.lease(draw.randint(0, 2)):
                await end(replica, draw, lease)

    await asyncio.gather(*(client(replicas[number % 2]) for number in range(4)))
    now = await usage(jobs)
    [said] = await jobs.execute(
        "SELECT (SELECT sum(credits) FROM ledger)::bigint AS credits, (SELECT count(*) FROM jobs) AS jobs,"
        " coalesce((SELECT sum(bytes) FROM assets), 0)::bigint AS bytes"
    )
    assert (now.credits, now.jobs, now.bytes) == (said["credits"], said["jobs"], said["bytes"])
    assert now.credits <= 25
    assert now.requests <= 48
