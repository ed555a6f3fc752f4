import asyncio
from datetime import UTC

import pytest

from edge_service.intake.plan import plan_job
from edge_service.jobs.database import Database
from edge_service.jobs.leases import Leases
from edge_service.jobs.records import AssetRow, Lease
from edge_service.jobs.store import Store, Submission
from shared.errors import AssetNotFound, IdempotencyConflict, JobNotFound
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.job.v1 import job_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.spec_json import from_spec_dict

ERROR = job_pb2.JobError(reason=job_pb2.ERROR_REASON_WORKER_LOST, message="gone")


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


@pytest.fixture
def leases(database: Database) -> Leases:
    return Leases(database)


async def submitted(store: Store, owner: str = "ann", seconds: float = 60, key: str = "", digest: bytes = b"a") -> str:
    job = {"sdxl": {"type": "sdxl_image_fast", "prompt": "a fox"}, "deadline": f"{seconds}s"}
    plan = plan_job(from_spec_dict(edge_pb2.SubmitJobRequest, job), {})
    return await store.create(owner, plan, Submission(key, digest))


async def running(store: Store, leases: Leases) -> Lease:
    await submitted(store)
    lease = await leases.lease_next("sdxl")
    assert lease is not None
    assert await leases.start(lease, "sdxl_worker_001")
    return lease


def callback(lease: Lease) -> sdxl_pb2.SdxlCallback:
    return sdxl_pb2.SdxlCallback(job_id=lease.job_id, status=job_pb2.JOB_STATUS_COMPLETED)


def asset(lease: Lease) -> AssetRow:
    return AssetRow(f"ann/{lease.job_id}/image_0.png", "image", "image/png", 3, "0" * 64)


async def kinds(store: Store, job_id: str) -> list[str]:
    watched = await store.events("ann", job_id, 0)
    assert [event.sequence for event in watched.events] == list(range(1, len(watched.events) + 1))
    return [event.WhichOneof("event") or "" for event in watched.events]


async def test_a_stored_job_is_complete_and_queued(store: Store):
    job = await store.job("ann", await submitted(store))
    assert job.status == job_pb2.JOB_STATUS_QUEUED
    assert (job.sdxl.id, job.sdxl.user_id, job.sdxl.config.steps) == (job.id, "ann", 15)
    assert job.queue_position == 1
    assert {decision.field for decision in job.decisions} >= {"config.steps", "config.seed"}


async def test_jobs_are_taken_first_in_first_out(store: Store, leases: Leases):
    ids = [await submitted(store) for _ in range(3)]
    taken = [await leases.lease_next("sdxl") for _ in range(4)]
    assert [lease.job_id if lease else None for lease in taken] == [*ids, None]


async def test_concurrent_replicas_never_take_the_same_job(store: Store, leases: Leases):
    ids = {await submitted(store) for _ in range(10)}
    taken = await asyncio.gather(*(leases.lease_next("sdxl") for _ in range(20)))
    assert sorted(lease.job_id for lease in taken if lease) == sorted(ids)


async def test_another_worker_types_jobs_are_left_alone(store: Store, leases: Leases):
    await submitted(store)
    assert await leases.lease_next("wan") is None


async def test_somebody_elses_job_looks_like_no_job(store: Store):
    job_id = await submitted(store, "ann")
    for call in (store.job, store.cancel):
        with pytest.raises(JobNotFound) as theirs:
            await call("bob", job_id)
        with pytest.raises(JobNotFound) as nobodys:
            await call("bob", "sdxl_image_fast_1_aaaaaa")
        assert str(theirs.value).replace(job_id, "") == str(nobodys.value).replace("sdxl_image_fast_1_aaaaaa", "")
    with pytest.raises(JobNotFound):
        await store.events("bob", job_id, 0)
    assert await store.jobs("bob", [], None, 10) == []


async def test_a_completed_job_has_its_assets_and_its_last_event(store: Store, leases: Leases):
    lease = await running(store, leases)
    assert await leases.record(lease, edge_pb2.JobEvent(progress=job_pb2.Progress(step=1)))
    assert await leases.complete(lease, callback(lease), [asset(lease)])
    assert (await store.asset("ann", asset(lease).key)).bytes == 3
    assert await kinds(store, lease.job_id) == ["status", "status", "progress", "ended"]
    assert (await store.events("ann", lease.job_id, 0)).finished
    job = await store.job("ann", lease.job_id)
    assert (job.status, job.attempts[0].worker_id) == (job_pb2.JOB_STATUS_COMPLETED, "sdxl_worker_001")
    assert job.attempts[0].HasField("ended")


async def test_an_asset_of_somebody_else_looks_like_none(store: Store, leases: Leases):
    lease = await running(store, leases)
    await leases.complete(lease, callback(lease), [asset(lease)])
    with pytest.raises(AssetNotFound):
        await store.asset("bob", asset(lease).key)
    assert await store.assets("bob", None, 10) == []


async def test_completing_twice_is_the_same_as_once(store: Store, leases: Leases):
    lease = await running(store, leases)
    assert await leases.complete(lease, callback(lease), [asset(lease)])
    assert await leases.complete(lease, callback(lease), [asset(lease)])
    assert await kinds(store, lease.job_id) == ["status", "status", "ended"]


async def test_a_cancelled_job_takes_no_result(store: Store, leases: Leases):
    lease = await running(store, leases)
    told = await store.cancel("ann", lease.job_id)
    assert not await leases.complete(lease, callback(lease), [asset(lease)])
    assert not await leases.record(lease, edge_pb2.JobEvent(progress=job_pb2.Progress(step=1)))
    assert not await leases.fail(lease, "failed", ERROR)
    assert told.status == (await store.job("ann", lease.job_id)).status == job_pb2.JOB_STATUS_CANCELLED
    with pytest.raises(AssetNotFound):
        await store.asset("ann", asset(lease).key)


async def test_cancelling_a_completed_job_leaves_it_completed(store: Store, leases: Leases):
    lease = await running(store, leases)
    await leases.complete(lease, callback(lease), [])
    assert (await store.cancel("ann", lease.job_id)).status == job_pb2.JOB_STATUS_COMPLETED
    assert await kinds(store, lease.job_id) == ["status", "status", "ended"]


async def test_a_late_result_of_an_older_attempt_is_refused(store: Store, leases: Leases):
    zombie = await running(store, leases)
    assert await leases.requeue(zombie, ERROR, 0, counts=True)
    fresh = await leases.lease_next("sdxl")
    assert fresh is not None
    assert fresh.attempt == zombie.attempt + 1
    assert await leases.start(fresh, "sdxl_worker_002")
    assert not await leases.complete(zombie, callback(zombie), [asset(zombie)])
    assert not await leases.record(zombie, edge_pb2.JobEvent(progress=job_pb2.Progress(step=1)))
    assert await leases.complete(fresh, callback(fresh), [asset(fresh)])


async def test_a_retry_waits_for_its_time(store: Store, leases: Leases):
    lease = await running(store, leases)
    await leases.requeue(lease, ERROR, 60, counts=True)
    assert await leases.lease_next("sdxl") is None


async def test_an_attempt_that_never_began_is_not_counted(store: Store, leases: Leases):
    lease = await running(store, leases)
    await leases.requeue(lease, ERROR, 0, counts=False)
    assert (await store.job("ann", lease.job_id)).attempts == []


async def test_a_lease_that_is_not_renewed_is_found(store: Store, leases: Leases, database: Database):
    lease = await running(store, leases)
    assert await leases.renew([lease]) == {(lease.job_id, lease.attempt)}
    assert await leases.overdue() == []
    async with database.connection() as connection:
        await connection.execute("UPDATE jobs SET lease_expires = now() - interval '1 second'")
    assert [found.job_id for found in await leases.overdue()] == [lease.job_id]


async def test_a_job_past_its_deadline_expires_in_the_queue(store: Store, leases: Leases):
    job_id = await submitted(store, seconds=1)
    assert await leases.expire() == 0
    await asyncio.sleep(1.05)
    assert await leases.lease_next("sdxl") is None
    assert await leases.expire() == 1
    job = await store.job("ann", job_id)
    assert (job.status, job.error.reason) == (job_pb2.JOB_STATUS_EXPIRED, job_pb2.ERROR_REASON_DEADLINE_EXCEEDED)
    assert await kinds(store, job_id) == ["status", "ended"]


async def test_events_are_read_from_any_sequence_without_gap_or_double(store: Store, leases: Leases):
    lease = await running(store, leases)
    writes = [leases.record(lease, edge_pb2.JobEvent(progress=job_pb2.Progress(step=n))) for n in range(20)]
    assert all(await asyncio.gather(*writes))
    everything = (await store.events("ann", lease.job_id, 0)).events
    assert [event.sequence for event in everything] == list(range(1, 23))
    assert (await store.events("ann", lease.job_id, 15)).events == everything[15:]
    assert not (await store.events("ann", lease.job_id, 22)).finished


async def test_pages_of_jobs_show_each_once_newest_first(store: Store):
    ids = [await submitted(store) for _ in range(5)]
    seen: list[str] = []
    before = None
    while page := await store.jobs("ann", [], before, 2):
        seen += [job.id for job in page]
        before = (page[-1].created.ToDatetime(UTC), page[-1].id)
    assert seen == ids[::-1]


async def test_jobs_are_listed_by_state(store: Store, leases: Leases):
    lease = await running(store, leases)
    queued = await submitted(store)
    assert [job.id for job in await store.jobs("ann", ["queued"], None, 10)] == [queued]
    assert [job.id for job in await store.jobs("ann", ["processing"], None, 10)] == [lease.job_id]


async def test_all_replicas_share_a_secret(store: Store):
    assert await store.secret("asset_urls", b"first") == b"first"
    assert await store.secret("asset_urls", b"second") == b"first"


async def test_the_same_key_and_request_are_the_same_job(store: Store):
    ids = await asyncio.gather(*(submitted(store, key="k") for _ in range(8)))
    assert len(set(ids)) == 1
    assert len(await store.jobs("ann", [], None, 10)) == 1


async def test_the_same_key_with_another_request_is_refused(store: Store):
    await submitted(store, key="k", digest=b"a")
    with pytest.raises(IdempotencyConflict, match="another request"):
        await submitted(store, key="k", digest=b"b")


async def test_a_key_is_its_owners_alone(store: Store):
    assert await submitted(store, "ann", key="k") != await submitted(store, "bob", key="k", digest=b"b")


async def test_without_a_key_every_submission_is_a_job(store: Store):
    assert await submitted(store) != await submitted(store)


async def test_a_key_is_forgotten_after_a_day(store: Store, leases: Leases, database: Database):
    first = await submitted(store, key="k")
    await leases.forget_keys()
    assert await submitted(store, key="k") == first
    async with database.connection() as connection:
        await connection.execute("UPDATE idempotency SET created = now() - interval '25 hours'")
    await leases.forget_keys()
    assert await submitted(store, key="k") != first


async def test_a_turn_whose_caller_left_before_it_began_ends_soon(store: Store, leases: Leases, database: Database):
    plan = plan_job(from_spec_dict(edge_pb2.SubmitJobRequest, {"sdxl": {"type": "sdxl_image_fast", "prompt": "a"}}), {})
    job_id = await store.create("ann", plan)
    assert await leases.expire() == 0
    async with database.connection() as connection:
        await connection.execute("UPDATE jobs SET created = now() - interval '31 seconds'")
    assert await leases.expire() == 1
    assert (await store.job("ann", job_id)).status == job_pb2.JOB_STATUS_EXPIRED
