"""What makes the end of a job one thing: a result with all that belongs to it, or nothing of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest
from psycopg.errors import UniqueViolation

from atelier.contracts.errors import AssetNotFound, Cancelled, DatabaseUnavailable, EngineFailed, JobNotFound
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from edge_service.adapters.database import Database
from edge_service.adapters.notifications import STOPPED, Notifications
from edge_service.queue.estimates.cost_model import CostModel
from edge_service.queue.execution import Execution
from edge_service.queue.leases import Leases, Unwritten
from edge_service.queue.store import Store
from shared.assets import AssetStore
from tests.kit.job_tables import Jobs, asset, plan

LOST = job_pb2.JobError(reason=job_pb2.ERROR_REASON_WORKER_LOST, message="gone")
PNG = b"\x89PNG\r\n\x1a\n"


async def test_a_result_whose_assets_cannot_be_stored_is_not_stored_either(jobs: Jobs):
    lease, other = await jobs.running(), await jobs.running()
    assert await jobs.complete(other, [asset(lease)])
    with pytest.raises(UniqueViolation):
        await jobs.complete(lease, [asset(lease)])
    job = await jobs.store.job("ann", lease.job_id)
    assert (job.status, job.last_sequence) == (job_pb2.JOB_STATUS_PROCESSING, lease.last_sequence)
    assert await jobs.execute("SELECT * FROM ledger WHERE job_id = %s AND kind = 'settle'", lease.job_id) == []


async def test_an_older_attempt_holds_up_no_take_over(jobs: Jobs):
    zombie = await jobs.running()
    assert await jobs.leases.requeue(zombie, LOST, 0, counts=True)
    [fresh] = await jobs.lease()
    await jobs.execute("UPDATE jobs SET lease_expires = now() - interval '1 second'")
    assert await jobs.leases.renew([zombie]) == set()
    assert [lease.attempt for lease in await jobs.leases.take_over()] == [fresh.attempt]


async def test_nobody_cancels_what_is_anothers(jobs: Jobs):
    lease = await jobs.running()
    with pytest.raises(JobNotFound):
        await jobs.store.cancel("bob", lease.job_id)
    assert (await jobs.store.job("ann", lease.job_id)).status == job_pb2.JOB_STATUS_PROCESSING


async def test_a_cancel_wakes_whoever_stops_running_jobs_at_once(database: Database):
    notifications = Notifications()
    jobs = Jobs(Store(database, notifications), Leases(database, notifications), database)
    lease, queued = await jobs.running(), await jobs.submit()
    with notifications.event(STOPPED, "") as stopped:
        await jobs.store.cancel("ann", queued)
        assert not stopped.is_set()  # nobody runs it: no replica need look at its leases
        await jobs.store.cancel("ann", lease.job_id)
        assert stopped.is_set()


async def test_a_job_that_somebody_else_changes_holds_up_no_lease(jobs: Jobs, database_url: str):
    first, second = await jobs.submit(), await jobs.submit()
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", [first])
        async with asyncio.timeout(10):
            assert [lease.job_id for lease in await jobs.lease()] == [second]


async def test_a_lease_waits_for_nobody_while_it_holds_the_lines_it_passed_over(jobs: Jobs, database_url: str):
    await jobs.submit("bob", replace(plan(needs=["other"]), priority=2))
    await jobs.submit("bob")
    await jobs.submit("ann", replace(plan(), priority=1))
    await jobs.execute("UPDATE shares SET vtime = 5 WHERE owner = 'ann'")  # bob's line would gain by waiting
    lock = "SELECT FROM shares WHERE owner = 'bob' AND priority = %s FOR UPDATE"
    async with await psycopg.AsyncConnection.connect(database_url) as other:  # a change of bob's, line after line
        await other.execute(lock, [0])
        leasing = asyncio.create_task(jobs.lease(2))  # passes over bob's urgent line, then takes a job of his other one
        await asyncio.sleep(0.3)
        await other.execute(lock, [2])
        await other.commit()
        assert [lease.owner for lease in await leasing] == ["ann", "bob"]


async def test_a_result_that_no_database_took_costs_no_attempt(jobs: Jobs, assets: AssetStore):
    """The database comes back just when patience ends: the job is done again, not called failed."""
    lease = await jobs.running()
    await Execution(jobs.leases, assets, CostModel(jobs.database)).fail_or_requeue(lease, DatabaseUnavailable("away"))
    job = await jobs.store.job("ann", lease.job_id)
    assert job.status == job_pb2.JOB_STATUS_QUEUED
    assert not job.attempts


async def test_the_files_of_a_refused_result_are_removed(jobs: Jobs, assets: AssetStore):
    lease = await jobs.running()
    await jobs.store.cancel("ann", lease.job_id)
    [stored] = await assets.put_all(lease.owner, lease.job_id, lease.attempt, [PNG])
    late = Execution(jobs.leases, assets, CostModel(jobs.database))
    worker = cast(Any, Late(lease.job_id, stored.key))
    async with contextlib.aclosing(late.events(lease, worker)) as events:
        async for event in events:
            with pytest.raises(Cancelled):
                await late.complete(lease, worker, event.callback, Unwritten(lease.last_sequence, []))
    with pytest.raises(AssetNotFound):
        await assets.size(stored.key)


async def test_a_result_of_files_that_its_attempt_did_not_store_is_refused(jobs: Jobs, assets: AssetStore):
    first = await jobs.running()
    assert await jobs.leases.requeue(first, LOST, 0, counts=True)
    [lease] = await jobs.lease()
    [of_bob] = await assets.put_all("bob", "job_1", 1, [PNG])
    own = f"ann/{lease.job_id}.2"
    names = (
        of_bob.key, "ann/job_1/image_0.png", f"ann/{lease.job_id}/image_0.png", f"{own}2/image_0.png",
        f"{own}/../../bob/job_1/image_0.png", f"bob/{lease.job_id}.2/image_0.png", own, f"{own}/", "",
    )  # fmt: skip
    running = Execution(jobs.leases, assets, CostModel(jobs.database))
    for key in names:
        worker = cast(Any, Late(lease.job_id, key))
        async with contextlib.aclosing(running.events(lease, worker)) as events:
            async for event in events:
                with pytest.raises(EngineFailed, match="belongs to another job"):
                    await running.complete(lease, worker, event.callback, Unwritten(lease.last_sequence, []))
    assert await jobs.store.assets("ann", None, 9) == []
    assert (await jobs.store.job("ann", lease.job_id)).status == job_pb2.JOB_STATUS_LEASED
    assert await assets.size(of_bob.key)


class Late:
    """A worker that answers at once with a result whose file is stored already, and the call to it."""

    description = None

    def __init__(self, job_id: str, key: str) -> None:
        asset = sdxl_pb2.SdxlAsset(key=key, type=job_pb2.ASSET_TYPE_IMAGE)
        callback = sdxl_pb2.SdxlCallback(job_id=job_id, status=job_pb2.JOB_STATUS_COMPLETED, assets=[asset])
        self._answer = sdxl_pb2.GenerateResponse(callback=callback)

    def occupied(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def generate(self, request: object, timeout: float) -> "Late":
        return self

    async def __aiter__(self) -> AsyncIterator[sdxl_pb2.GenerateResponse]:
        yield self._answer

    def cancel(self) -> None: ...

    def succeeded(self) -> None: ...
