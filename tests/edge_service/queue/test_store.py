import asyncio
from dataclasses import replace
from datetime import UTC
from typing import Any

import psycopg
import pytest

from atelier.contracts.errors import AssetNotFound, IdempotencyConflict, JobNotEnded, JobNotFound, QueueFull
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.accounts.tiers import Limits
from tests.kit.job_tables import SLOT, Jobs, asset, limits, plan

ERROR = job_pb2.JobError(reason=job_pb2.ERROR_REASON_WORKER_LOST, message="gone")
STEP = edge_pb2.JobEvent(progress=job_pb2.Progress(step=1))


async def kinds(jobs: Jobs, job_id: str) -> list[str]:
    events = await jobs.events(job_id)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    return [event.WhichOneof("event") or "" for event in events]


async def test_a_stored_job_is_complete_and_queued(jobs: Jobs):
    job = await jobs.store.job("ann", await jobs.submit())
    assert job.status == job_pb2.JOB_STATUS_QUEUED
    assert (job.sdxl.id, job.sdxl.user_id, job.sdxl.config.steps) == (job.id, "ann", 15)
    assert {decision.field for decision in job.decisions} >= {"config.steps", "config.seed"}


async def test_somebody_elses_job_looks_like_no_job(jobs: Jobs):
    job_id = await jobs.submit("ann")
    for call in (jobs.store.job, jobs.store.cancel, jobs.store.ended_plan):
        with pytest.raises(JobNotFound) as theirs:
            await call("bob", job_id)
        with pytest.raises(JobNotFound) as nobodys:
            await call("bob", "sdxl_image_fast_1_aaaaaa")
        assert str(theirs.value).replace(job_id, "") == str(nobodys.value).replace("sdxl_image_fast_1_aaaaaa", "")
    with pytest.raises(JobNotFound):
        await jobs.events(job_id, "bob")
    assert await jobs.store.jobs("bob", [], None, 10) == []


async def test_a_completed_job_has_its_assets_and_its_last_event(jobs: Jobs):
    lease = await jobs.running()
    last = await jobs.leases.record(lease, lease.last_sequence, [STEP])
    assert last is not None
    lease = replace(lease, last_sequence=last)
    assert await jobs.complete(lease, [asset(lease)])
    assert (await jobs.store.asset("ann", asset(lease).key)).bytes == 3
    assert await kinds(jobs, lease.job_id) == ["status", "status", "progress", "ended"]
    assert (await jobs.events(lease.job_id))[-1].HasField("ended")
    job = await jobs.store.job("ann", lease.job_id)
    assert (job.status, job.attempts[0].worker_id) == (job_pb2.JOB_STATUS_COMPLETED, "sdxl_worker_001")
    assert job.attempts[0].HasField("ended")


async def test_an_asset_of_somebody_else_looks_like_none(jobs: Jobs):
    lease = await jobs.running()
    await jobs.complete(lease, [asset(lease)])
    with pytest.raises(AssetNotFound):
        await jobs.store.asset("bob", asset(lease).key)
    assert await jobs.store.assets("bob", None, 10) == []


async def test_completing_twice_is_the_same_as_once(jobs: Jobs):
    lease = await jobs.running()
    assert await jobs.complete(lease, [asset(lease)])
    assert await jobs.complete(lease, [asset(lease)])
    assert await kinds(jobs, lease.job_id) == ["status", "status", "ended"]


async def test_a_cancelled_job_takes_no_result(jobs: Jobs):
    lease = await jobs.running()
    told = await jobs.store.cancel("ann", lease.job_id)
    assert not await jobs.complete(lease, [asset(lease)])
    assert await jobs.leases.record(lease, lease.last_sequence, [STEP]) is None
    assert not await jobs.leases.fail(lease, "failed", ERROR)
    assert told.status == (await jobs.store.job("ann", lease.job_id)).status == job_pb2.JOB_STATUS_CANCELLED
    with pytest.raises(AssetNotFound):
        await jobs.store.asset("ann", asset(lease).key)


async def test_cancelling_a_completed_job_leaves_it_completed(jobs: Jobs):
    lease = await jobs.running()
    await jobs.complete(lease)
    assert (await jobs.store.cancel("ann", lease.job_id)).status == job_pb2.JOB_STATUS_COMPLETED
    assert await kinds(jobs, lease.job_id) == ["status", "status", "ended"]


async def test_a_late_result_of_an_older_attempt_is_refused(jobs: Jobs):
    zombie = await jobs.running()
    assert await jobs.leases.requeue(zombie, ERROR, 0, counts=True)
    [fresh] = await jobs.lease()
    assert fresh.attempt == zombie.attempt + 1
    assert await jobs.leases.record(fresh, fresh.last_sequence, []) is not None
    assert not await jobs.complete(zombie, [asset(zombie)])
    assert await jobs.leases.record(zombie, zombie.last_sequence, [STEP]) is None
    assert not await jobs.leases.requeue(zombie, ERROR, 0, counts=True)
    assert not await jobs.leases.fail(zombie, "failed", ERROR)
    assert await jobs.leases.renew([zombie, fresh]) == {(fresh.job_id, fresh.attempt)}
    assert await jobs.complete(fresh, [asset(fresh)])


async def test_events_written_twice_because_the_answer_was_lost_are_there_once(jobs: Jobs):
    lease = await jobs.running()
    first = await jobs.leases.record(lease, lease.last_sequence, [STEP, STEP])
    assert await jobs.leases.record(lease, lease.last_sequence, [STEP, STEP]) == first
    assert await kinds(jobs, lease.job_id) == ["status", "status", "progress", "progress"]


async def test_the_first_events_say_that_a_worker_has_the_job(jobs: Jobs):
    await jobs.submit()
    [lease] = await jobs.lease()
    assert (await jobs.store.job("ann", lease.job_id)).status == job_pb2.JOB_STATUS_LEASED
    await jobs.leases.record(lease, lease.last_sequence, [STEP])
    job = await jobs.store.job("ann", lease.job_id)
    assert job.status == job_pb2.JOB_STATUS_PROCESSING
    assert job.HasField("started")
    assert await kinds(jobs, lease.job_id) == ["status", "status", "progress"]


async def test_a_result_that_comes_before_any_event_completes_the_job(jobs: Jobs):
    await jobs.submit()
    [lease] = await jobs.lease()
    assert await jobs.complete(lease, [asset(lease)])
    assert await kinds(jobs, lease.job_id) == ["status", "status", "ended"]


async def test_an_attempt_that_failed_is_told_and_counted(jobs: Jobs):
    lease = await jobs.running()
    await jobs.leases.requeue(lease, ERROR, 0, counts=True)
    job = await jobs.store.job("ann", lease.job_id)
    assert (job.status, job.attempts[0].error) == (job_pb2.JOB_STATUS_QUEUED, ERROR)
    last = (await jobs.events(lease.job_id))[-1]
    assert (last.retry.error, last.retry.attempt) == (ERROR, 1)
    assert await jobs.leases.failures(lease, job_pb2.ERROR_REASON_WORKER_LOST) == 1
    assert await jobs.leases.failures(lease, job_pb2.ERROR_REASON_EDGE_LOST) == 0


async def test_a_job_tells_which_worker_each_attempt_went_to_and_why(jobs: Jobs):
    job_id = await jobs.submit()
    for worker, routing in (("sdxl_worker_001", "free slots 2 of 4"), ("sdxl_worker_002", "free slots 1 of 4")):
        [lease] = await jobs.lease(slot=replace(SLOT, worker_id=worker, routing=routing))
        assert await jobs.leases.requeue(lease, ERROR, 0, counts=True)
    told = [each for each in (await jobs.store.job("ann", job_id)).decisions if each.field == "worker_id"]
    assert [(getattr(each, "from"), each.to, each.why) for each in told] == [
        ("", "sdxl_worker_001", "attempt 1: free slots 2 of 4"),
        ("sdxl_worker_001", "sdxl_worker_002", "attempt 2: free slots 1 of 4"),
    ]


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch, database_url: str) -> list[object]:
    """All that is executed in the test's own database from now on: edges of other tests may run beside it."""
    executed: list[object] = []
    execute = psycopg.AsyncConnection.execute

    async def counted(self: psycopg.AsyncConnection[Any], query: Any, *values: Any, **options: Any) -> object:
        if f"/{self.info.dbname}?" in database_url:
            executed.append(query)
        return await execute(self, query, *values, **options)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", counted)
    return executed


async def with_history(jobs: Jobs, count: int) -> list[str]:
    """Jobs with a webhook and two attempts each."""
    hook = edge_pb2.Webhook(url="https://receiver.example/hook", on_start=True)
    stored = [await jobs.submit(planned=plan(webhook=hook)) for _ in range(count)]
    for counts in (True, False):
        for lease in await jobs.lease(count):
            assert await jobs.leases.record(lease, lease.last_sequence, [])
            if counts:
                assert await jobs.leases.requeue(lease, ERROR, 0, counts=True)
    return stored


async def test_a_page_takes_one_statement_however_many_jobs_and_attempts_it_has(jobs: Jobs, statements: list[object]):
    stored = await with_history(jobs, 20)
    for count in (1, 20):
        statements.clear()
        page = await jobs.store.jobs("ann", [], None, count)
        assert len(statements) == 1
        assert [job.id for job in page] == stored[::-1][:count]
        assert all([attempt.number for attempt in job.attempts] == [1, 2] for job in page)
        assert all(job.webhook.state == edge_pb2.WEBHOOK_STATE_PENDING for job in page)


async def test_reading_and_storing_a_job_take_one_statement(jobs: Jobs, statements: list[object]):
    [job_id] = await with_history(jobs, 1)
    statements.clear()
    assert len((await jobs.store.job("ann", job_id)).attempts) == 2
    assert len(statements) == 1
    await jobs.submit(planned=plan(webhook=edge_pb2.Webhook(url="https://receiver.example/hook")), key="a key")
    assert len(statements) == 2
    assert await jobs.store.earlier("ann", "a key", b"a")
    assert len(statements) == 3


async def test_calls_that_come_together_share_a_statement(jobs: Jobs, statements: list[object]):
    mine, yours = await jobs.submit("ann"), await jobs.submit("bob")
    statements.clear()
    wanted = [("ann", mine), ("bob", yours), ("ann", yours), ("ann", "no_such_job")] * 20
    found = await asyncio.gather(*(jobs.store.job(*key) for key in wanted), return_exceptions=True)
    assert [job.id if isinstance(job, edge_pb2.Job) else type(job) for job in found] == [
        mine, yours, JobNotFound, JobNotFound,
    ] * 20  # fmt: skip
    assert len(statements) == 1


async def test_a_call_sees_what_was_written_before_it_came(jobs: Jobs):
    async def cancelled() -> None:
        job_id = await jobs.submit()
        await jobs.store.cancel("ann", job_id)
        assert (await jobs.store.job("ann", job_id)).status == job_pb2.JOB_STATUS_CANCELLED

    await asyncio.gather(*(cancelled() for _ in range(40)))


async def test_one_caller_that_goes_away_does_not_take_the_answer_from_the_others(jobs: Jobs):
    job_id = await jobs.submit()
    gone, staying = (asyncio.create_task(jobs.store.job("ann", job_id)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await staying).id == job_id


async def test_a_page_of_large_jobs_ends_after_so_many_bytes(jobs: Jobs):
    stored = [await jobs.submit() for _ in range(5)]
    decisions = edge_pb2.Job(policy_version="1" * 100).SerializeToString()
    await jobs.execute("UPDATE jobs SET plan = '', decisions = %s", decisions)
    size = len(decisions)
    for max_bytes, count in ((1, 1), (size, 1), (size + 1, 2), (3 * size, 3), (10 * size, 5)):
        page = await jobs.store.jobs("ann", [], None, 10, max_bytes)
        assert [job.id for job in page] == stored[::-1][:count]


async def test_a_retry_waits_for_its_time(jobs: Jobs):
    lease = await jobs.running()
    await jobs.leases.requeue(lease, ERROR, 60, counts=True)
    assert await jobs.lease() == []


async def test_an_attempt_that_never_began_leaves_no_trace(jobs: Jobs):
    lease = await jobs.running()
    await jobs.leases.requeue(lease, ERROR, 0, counts=False)
    assert (await jobs.store.job("ann", lease.job_id)).attempts == []


async def test_a_lease_that_is_not_renewed_is_taken_over(jobs: Jobs):
    lease = await jobs.running()
    assert await jobs.leases.renew([lease]) == {(lease.job_id, lease.attempt)}
    assert await jobs.leases.take_over() == []
    await jobs.execute("UPDATE jobs SET lease_expires = now() - interval '1 second'")
    assert [found.job_id for found in await jobs.leases.take_over()] == [lease.job_id]
    assert await jobs.leases.take_over() == []


async def test_a_job_past_its_deadline_expires_in_the_queue_and_reaches_no_worker(jobs: Jobs):
    job_id = await jobs.submit()
    await jobs.leases.expire()
    await jobs.execute("UPDATE jobs SET deadline = now() - interval '1 second'")
    assert await jobs.lease() == []
    await jobs.leases.expire()
    job = await jobs.store.job("ann", job_id)
    assert (job.status, job.error.reason) == (job_pb2.JOB_STATUS_EXPIRED, job_pb2.ERROR_REASON_DEADLINE_EXCEEDED)
    assert await kinds(jobs, job_id) == ["status", "ended"]


async def test_events_are_read_from_any_sequence_without_gap_or_double(jobs: Jobs):
    lease = await jobs.running()
    last = lease.last_sequence
    for _ in range(20):
        last = await jobs.leases.record(lease, last, [STEP]) or 0
    everything = await jobs.events(lease.job_id)
    assert [event.sequence for event in everything] == list(range(1, 23))
    assert await jobs.events(lease.job_id, after=15) == everything[15:]


@pytest.mark.parametrize("move", ["queued", "leased", "processing", "failed", "completed"])
async def test_the_database_itself_keeps_an_end_final(jobs: Jobs, move: str):
    job_id = await jobs.submit()
    await jobs.store.cancel("ann", job_id)
    lease = "now()" if move in ("leased", "processing") else "NULL"
    ended = "ended" if move in ("failed", "completed") else "NULL"
    with pytest.raises(psycopg.errors.CheckViolation, match="cannot go from cancelled"):
        await jobs.execute(f"UPDATE jobs SET status = '{move}', ended = {ended}, lease_expires = {lease}")


async def test_the_database_itself_refuses_a_result_without_a_worker(jobs: Jobs):
    await jobs.submit()
    with pytest.raises(psycopg.errors.CheckViolation, match="from queued to completed"):
        await jobs.execute("UPDATE jobs SET status = 'completed', ended = now()")


async def ledger(jobs: Jobs) -> list[tuple[object, object]]:
    return [tuple(row.values()) for row in await jobs.execute("SELECT kind, credits FROM ledger ORDER BY kind")]


async def test_a_completed_job_costs_its_credits(jobs: Jobs):
    await jobs.submit(planned=plan(credits=3))
    assert await ledger(jobs) == [("reserve", 3)]
    [lease] = await jobs.lease()
    await jobs.complete(lease)
    await jobs.complete(lease)
    assert await ledger(jobs) == [("reserve", 3), ("settle", 0)]
    assert (await jobs.store.job("ann", lease.job_id)).charge == 3


async def test_a_job_that_does_not_complete_costs_nothing(jobs: Jobs):
    job_id = await jobs.submit(planned=plan(credits=3))
    await jobs.store.cancel("ann", job_id)
    assert await ledger(jobs) == [("reserve", 3), ("settle", -3)]
    assert (await jobs.store.job("ann", job_id)).charge == 0


async def test_an_ended_job_can_be_repeated_with_the_same_plan(jobs: Jobs):
    job_id = await jobs.submit()
    with pytest.raises(JobNotEnded, match=f"{job_id} is queued"):
        await jobs.store.ended_plan("ann", job_id)
    await jobs.store.cancel("ann", job_id)
    again = await jobs.submit(planned=await jobs.store.ended_plan("ann", job_id))
    old, new = await jobs.store.job("ann", job_id), await jobs.store.job("ann", again)
    assert new.sdxl.id == again != job_id
    assert new.sdxl.sampling.seeds == old.sdxl.sampling.seeds
    assert new.decisions == old.decisions


async def full(jobs: Jobs, limit: Limits, owner: str = "ann") -> QueueFull:
    with pytest.raises(QueueFull) as refused:
        await jobs.submit(owner, limits=limit, key="refused")
    return refused.value


async def test_a_full_queue_says_which_limit_its_size_and_its_use(jobs: Jobs):
    await jobs.submit()
    await jobs.submit("bob")
    assert (await full(jobs, limits(1, 9, 9))).limit == "max_queued"
    assert (await full(jobs, limits(9, 1, 9))).limit == "max_queued_by_type"
    refused = await full(jobs, limits(9, 9, 2), "eve")
    assert refused.limit == "max_queued_by_all"
    assert "2 sdxl jobs may be queued in all and 2 are" in refused.message
    assert refused.retry_after_seconds > 0


async def test_a_user_has_only_so_many_turns_at_once(jobs: Jobs):
    two = limits(2, 9, 9)
    turns = [await jobs.submit(interactive=True, limits=two) for _ in range(2)]
    with pytest.raises(QueueFull, match="max_turns: you may have 2 chat turns at once and have 2"):
        await jobs.submit(interactive=True, limits=two)
    await jobs.submit("bob", interactive=True, limits=two)
    await jobs.store.cancel("ann", turns[0])
    await jobs.submit(interactive=True, limits=two)


async def test_a_turn_takes_no_slot_that_is_taken(jobs: Jobs):
    slot = replace(SLOT, slots=1)
    [first, second] = [await jobs.submit(interactive=True) for _ in range(2)]
    assert await jobs.leases.lease_one(first, slot)
    assert await jobs.leases.lease_one(second, slot) is None


async def test_a_refused_submission_leaves_nothing_behind(jobs: Jobs):
    await jobs.submit()
    await full(jobs, limits(1, 1, 1))
    assert await jobs.submit(key="refused")
    assert len(await jobs.execute("SELECT job_id FROM ledger")) == 2


async def test_a_job_that_has_started_or_ended_makes_room(jobs: Jobs):
    one = limits(1, 1, 1)
    await jobs.submit(limits=one)
    await jobs.lease()
    second = await jobs.submit(limits=one)
    await jobs.store.cancel("ann", second)
    await jobs.submit(limits=one)
    await full(jobs, one)


@pytest.mark.parametrize("ten", [limits(10, 99, 99), limits(99, 10, 99), limits(99, 99, 10)])
async def test_a_queue_limit_is_exact_to_the_unit_however_many_come_at_once(jobs: Jobs, ten: Limits):
    outcomes = await asyncio.gather(*(jobs.submit(limits=ten) for _ in range(64)), return_exceptions=True)
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 10
    assert sum(isinstance(outcome, QueueFull) for outcome in outcomes) == 54


async def test_the_limit_of_everyone_is_exact_with_many_owners(jobs: Jobs):
    # Between counting and storing each takes so long that all others would have counted meanwhile.
    await jobs.execute(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN new; END $$"
    )
    await jobs.execute("CREATE TRIGGER lingers BEFORE INSERT ON shares FOR EACH ROW EXECUTE FUNCTION linger()")
    submits = (jobs.submit(f"user{number % 8}", limits=limits(99, 99, 10)) for number in range(64))
    outcomes = await asyncio.gather(*submits, return_exceptions=True)
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 10


async def test_pages_of_jobs_show_each_once_newest_first(jobs: Jobs):
    ids = [await jobs.submit() for _ in range(5)]
    seen: list[str] = []
    before = None
    while page := await jobs.store.jobs("ann", [], before, 2):
        seen += [job.id for job in page]
        before = (page[-1].created.ToDatetime(UTC), page[-1].id)
    assert seen == ids[::-1]


async def test_jobs_are_listed_by_state(jobs: Jobs):
    lease = await jobs.running()
    queued = await jobs.submit()
    assert [job.id for job in await jobs.store.jobs("ann", ["queued"], None, 10)] == [queued]
    assert [job.id for job in await jobs.store.jobs("ann", ["processing"], None, 10)] == [lease.job_id]


async def test_all_replicas_share_a_secret(jobs: Jobs):
    assert await jobs.store.secret("asset_urls", b"first") == b"first"
    assert await jobs.store.secret("asset_urls", b"second") == b"first"


async def test_the_same_key_and_request_are_the_same_job(jobs: Jobs):
    ids = await asyncio.gather(*(jobs.submit(key="k") for _ in range(8)))
    assert len(set(ids)) == 1
    assert len(await jobs.store.jobs("ann", [], None, 10)) == 1


async def test_the_same_key_with_another_request_is_refused(jobs: Jobs):
    await jobs.submit(key="k", digest=b"a")
    with pytest.raises(IdempotencyConflict, match="another request"):
        await jobs.submit(key="k", digest=b"b")


async def test_a_key_is_its_owners_alone(jobs: Jobs):
    assert await jobs.submit("ann", key="k") != await jobs.submit("bob", key="k", digest=b"b")


async def test_without_a_key_every_submission_is_a_job(jobs: Jobs):
    assert await jobs.submit() != await jobs.submit()


async def test_a_key_is_forgotten_after_a_day(jobs: Jobs):
    first = await jobs.submit(key="k")
    assert await jobs.submit(key="k") == first
    await jobs.execute("UPDATE idempotency SET created = now() - interval '25 hours'")
    assert await jobs.submit(key="k", digest=b"b") != first


async def test_a_turn_whose_caller_left_before_it_began_ends_soon(jobs: Jobs):
    job_id = await jobs.submit(interactive=True)
    await jobs.leases.expire()
    assert (await jobs.store.job("ann", job_id)).status == job_pb2.JOB_STATUS_QUEUED
    await jobs.execute("UPDATE jobs SET created = now() - interval '31 seconds'")
    await jobs.leases.expire()
    assert (await jobs.store.job("ann", job_id)).status == job_pb2.JOB_STATUS_EXPIRED


async def test_jobs_that_ended_or_wait_are_not_read_to_find_those_that_are_late(jobs: Jobs):
    await jobs.execute(
        "INSERT INTO jobs (id, owner, type, worker_type, interactive, status, plan, decisions, deadline, ended)"
        " SELECT 'e' || n, 'ann', 't', 'sdxl', false, 'completed', '', '', now(), now() FROM generate_series(1, 9000) n"
    )
    await jobs.execute(
        "INSERT INTO jobs (id, owner, type, worker_type, interactive, status, plan, decisions, deadline)"
        " SELECT 'q' || n, 'ann', 't', 'sdxl', false, 'queued', '', '', now() + interval '1 h'"
        " FROM generate_series(1, 3000) AS n"
    )
    await jobs.execute("ANALYZE jobs")
    async with jobs.database.transaction() as connection:
        await connection.execute("SELECT expire_job('', 1, '')")
        reads = "SELECT seq_tup_read + idx_tup_fetch AS reads FROM pg_stat_xact_user_tables WHERE relname = 'jobs'"
        [found] = await (await connection.execute(reads.encode())).fetchall()
    assert found["reads"] < 10
