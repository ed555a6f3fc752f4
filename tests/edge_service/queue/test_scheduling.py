"""Which queued job goes next: priority, then the share of its owner, then age."""

import asyncio
from dataclasses import replace

from atelier.pb.job.v1 import job_pb2
from edge_service.queue.rows import WorkerSlot
from tests.kit.job_tables import SLOT, Jobs, plan

ERROR = job_pb2.JobError(reason=job_pb2.ERROR_REASON_WORKER_LOST, message="gone")


async def taken(jobs: Jobs, count: int, **how: object) -> list[str]:
    """The ids of the next jobs, leased one at a time."""
    return [lease.job_id for _ in range(count) for lease in await jobs.lease(**how)]  # type: ignore[arg-type]


async def owners(jobs: Jobs, count: int) -> list[str]:
    return [lease.owner for _ in range(count) for lease in await jobs.lease()]


async def waited(jobs: Jobs, job_id: str, seconds: float) -> None:
    query = "UPDATE jobs SET created = created - %s * interval '1 second', not_before = 'epoch' WHERE id = %s"
    await jobs.execute(query, seconds, job_id)
    await jobs.execute(
        "UPDATE shares SET head = (SELECT min(created) FROM jobs WHERE jobs.owner = shares.owner"
        " AND jobs.priority = shares.priority AND status = 'queued')"
    )


async def test_one_users_jobs_go_first_in_first_out(jobs: Jobs):
    ids = [await jobs.submit() for _ in range(5)]
    assert await taken(jobs, 5) == ids
    assert await jobs.lease() == []


async def test_several_are_leased_at_once_in_order(jobs: Jobs):
    ids = [await jobs.submit() for _ in range(5)]
    assert [lease.job_id for lease in await jobs.lease(3)] == ids[:3]


async def test_replicas_that_lease_together_never_take_the_same_job(jobs: Jobs):
    ids = [await jobs.submit() for _ in range(10)]
    leased = await asyncio.gather(*(jobs.lease() for _ in range(20)))
    assert sorted(lease.job_id for leases in leased for lease in leases) == sorted(ids)


async def test_jobs_of_another_worker_type_are_left_alone(jobs: Jobs):
    await jobs.submit()
    assert await jobs.lease(slot=replace(SLOT, worker_type="wan")) == []


async def test_a_worker_gets_only_what_it_can_do(jobs: Jobs):
    style = await jobs.submit(planned=plan(needs=["reference_style"]))
    plain = await jobs.submit()
    assert await taken(jobs, 1) == [plain]
    assert await taken(jobs, 1, offers=["compel", "reference_style"]) == [style]


async def test_replicas_together_give_a_worker_no_more_than_it_has_slots(jobs: Jobs):
    for _ in range(10):
        await jobs.submit()
    slot = WorkerSlot("sdxl", "worker:2", "sdxl_worker_002", 2)
    leased = await asyncio.gather(*(jobs.lease(2, slot=slot) for _ in range(4)))
    assert sum(len(leases) for leases in leased) == 2
    assert len(await jobs.lease(2)) == 2  # another worker's slots are its own


async def test_a_lease_that_nobody_renews_does_not_block_its_worker_for_long(jobs: Jobs):
    slot = WorkerSlot("sdxl", "worker:2", "sdxl_worker_002", 1)
    await jobs.submit()
    await jobs.submit()
    await jobs.lease(slot=slot)
    assert await jobs.lease(slot=slot) == []
    await jobs.execute("UPDATE jobs SET lease_expires = lease_expires - interval '5 seconds' WHERE status = 'leased'")
    assert len(await jobs.lease(slot=slot)) == 1


async def test_the_higher_priority_goes_first(jobs: Jobs):
    low = await jobs.submit(planned=replace(plan(), priority=0))
    high = await jobs.submit("bob", replace(plan(), priority=5))
    assert await taken(jobs, 2) == [high, low]


async def test_waiting_raises_a_job_level_by_level_so_that_nothing_starves(jobs: Jobs):
    low = await jobs.submit(planned=replace(plan(), priority=0))
    await waited(jobs, low, 3 * 60 + 1)
    for _ in range(3):
        await jobs.submit("bob", replace(plan(), priority=2))
    assert await taken(jobs, 1) == [low]


async def test_a_line_that_is_served_does_not_age_however_long_its_jobs_wait(jobs: Jobs):
    for _ in range(20):
        await waited(jobs, await jobs.submit("flood", replace(plan(), priority=2)), 3600)
    starved = await jobs.submit("low", replace(plan(), priority=0))
    await waited(jobs, starved, 3 * 60)
    assert starved in await taken(jobs, 2)


async def test_a_line_that_waiting_raised_gets_one_job_and_begins_to_wait_again(jobs: Jobs):
    for _ in range(5):
        await waited(jobs, await jobs.submit("low", replace(plan(), priority=0), cost=0.1), 3600)
    for _ in range(5):
        await jobs.submit("high", replace(plan(), priority=5))
    assert (await owners(jobs, 6)).count("low") == 1


async def test_waiting_puts_nobody_above_the_highest_priority(jobs: Jobs):
    for _ in range(5):
        await waited(jobs, await jobs.submit("flood", cost=10), 3600)
    await jobs.lease()
    fresh = await jobs.submit("bob", replace(plan(), priority=1))
    assert await taken(jobs, 1) == [fresh]


async def test_an_old_flood_does_not_delay_anothers_first(jobs: Jobs):
    for _ in range(20):
        await waited(jobs, await jobs.submit("flood", cost=10), 3600)
    await jobs.lease()
    fresh = await jobs.submit("bob", cost=10)
    assert await taken(jobs, 1) == [fresh]


async def test_a_job_that_no_worker_can_do_lends_its_age_to_none_behind_it(jobs: Jobs):
    parked = await jobs.submit("guest", replace(plan(), priority=0, needs=["not-loaded"]))
    await waited(jobs, parked, 3600)
    urgent = await jobs.submit("bob", replace(plan(), priority=5))
    await jobs.submit("guest", replace(plan(), priority=0))
    assert await taken(jobs, 1) == [urgent]


async def test_a_job_that_no_worker_can_do_earns_no_credit(jobs: Jobs):
    await jobs.submit("parked", plan(needs=["not-loaded"]), cost=10)
    for _ in range(20):
        await jobs.submit("bob", cost=10)
    await owners(jobs, 8)
    for _ in range(20):
        await jobs.submit("parked", cost=10)
        await jobs.submit("newcomer", cost=10)
    order = await owners(jobs, 9)
    assert all(2 <= order.count(owner) <= 4 for owner in ("parked", "newcomer", "bob")), order


async def vtime(jobs: Jobs) -> float:
    [line] = await jobs.execute("SELECT vtime FROM shares")
    return float(line["vtime"])  # type: ignore[arg-type]


async def test_a_cancelled_job_is_charged_for_what_it_took(jobs: Jobs):
    lease = await jobs.running()
    await jobs.execute("UPDATE attempts SET started = started - interval '30 seconds'")
    await jobs.store.cancel("ann", lease.job_id)
    assert 30 <= await vtime(jobs) < 40


async def test_a_job_cancelled_in_the_queue_is_charged_nothing(jobs: Jobs):
    await jobs.store.cancel("ann", await jobs.submit(cost=5))
    assert await vtime(jobs) == 0


async def test_a_failed_job_is_charged_for_what_it_took(jobs: Jobs):
    lease = await jobs.running()
    await jobs.execute("UPDATE attempts SET started = started - interval '30 seconds'")
    await jobs.leases.fail(lease, "failed", ERROR)
    assert 30 <= await vtime(jobs) < 40


async def test_a_thousand_queued_jobs_do_not_delay_anothers_first(jobs: Jobs):
    for _ in range(50):
        await jobs.submit("ann", cost=10)
    await jobs.lease()
    first = await jobs.submit("bob", cost=10)
    assert await taken(jobs, 1) == [first]


async def test_users_share_worker_seconds_not_jobs(jobs: Jobs):
    for _ in range(30):
        await jobs.submit("long", cost=10)
        await jobs.submit("short", cost=2)
        await jobs.submit("shorter", cost=1)
    order = await owners(jobs, 26)
    seconds = {owner: order.count(owner) * cost for owner, cost in (("long", 10), ("short", 2), ("shorter", 1))}
    assert max(seconds.values()) - min(seconds.values()) <= 10


async def test_idleness_earns_no_credit(jobs: Jobs):
    await jobs.submit("idler")
    for _ in range(20):
        await jobs.submit("worker")
    await owners(jobs, 15)  # the idler's one job and 14 others
    for _ in range(10):
        await jobs.submit("idler")
    order = await owners(jobs, 6)
    assert 2 <= order.count("worker") <= 4


async def test_a_first_job_is_next_also_while_others_are_charged_less_than_they_were(jobs: Jobs):
    for _ in range(20):
        await jobs.submit("flood", cost=10)
    await owners(jobs, 8)
    await jobs.execute("UPDATE shares SET vtime = vtime - 76")  # they took half a second each, not ten
    first = await jobs.submit("newcomer")
    assert first in await taken(jobs, 2)


async def test_a_user_who_submits_one_by_one_gets_no_more_than_a_share(jobs: Jobs):
    for _ in range(20):
        await jobs.submit("bulk")
    order = []
    for _ in range(10):
        await jobs.submit("single")
        order += await owners(jobs, 1)
    assert 4 <= order.count("bulk") <= 6


async def test_a_job_given_back_is_charged_once(jobs: Jobs):
    await jobs.submit("ann", cost=5)
    await jobs.submit("bob", cost=5)
    [lease] = await jobs.lease()
    await jobs.leases.requeue(lease, ERROR, 0, counts=True)
    assert sorted(await owners(jobs, 2)) == ["ann", "bob"]
    vtimes = await jobs.execute("SELECT vtime FROM shares")
    assert [row["vtime"] for row in vtimes] == [5, 5]


async def test_a_job_given_back_keeps_its_place(jobs: Jobs):
    first = await jobs.submit()
    await jobs.submit()
    [lease] = await jobs.lease()
    await jobs.leases.requeue(lease, ERROR, 0, counts=True)
    assert await taken(jobs, 1) == [first]


async def test_lines_count_their_jobs_whatever_happens_to_them(jobs: Jobs):
    ids = [await jobs.submit() for _ in range(6)]
    await jobs.store.cancel("ann", ids[1])
    await jobs.lease(2)
    await jobs.execute("UPDATE jobs SET deadline = now() WHERE id = %s", ids[4])
    await jobs.leases.expire()
    [line] = await jobs.execute(
        "SELECT queued, head = (SELECT created FROM jobs WHERE id = %s) AS right_head FROM shares", ids[3]
    )
    assert line == {"queued": 2, "right_head": True}


async def test_a_lease_looks_at_the_jobs_of_the_first_lines_alone(jobs: Jobs):
    await jobs.execute(
        "INSERT INTO jobs (id, owner, type, worker_type, interactive, status, plan, decisions, deadline)"
        " SELECT 'j' || n, 'o' || n, 'sdxl_image_fast', 'sdxl', false, 'queued', '', '', now() + interval '1 h'"
        " FROM generate_series(1, 500) AS n"
    )
    await jobs.execute(
        "INSERT INTO shares (owner, worker_type, priority, queued, head, vtime)"
        " SELECT owner, worker_type, priority, 1, created, 0 FROM jobs"
    )
    async with jobs.database.transaction() as connection:
        lease = "SELECT id FROM lease_jobs('sdxl', 'worker:1', 'w', '{}', 1, 1, interval '10 s', 60)"
        assert len(await (await connection.execute(lease.encode())).fetchall()) == 1
        looks = "SELECT seq_scan + idx_scan AS looks FROM pg_stat_xact_user_tables WHERE relname = 'jobs'"
        [found] = await (await connection.execute(looks.encode())).fetchall()
    assert found["looks"] < 50
