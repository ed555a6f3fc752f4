"""What becomes of jobs when their worker drains, fails or freezes: a real edge, database and workers."""

import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from tests.kit.edge import ANN, Calls, StartEdge
from tests.kit.frozen import process
from tests.kit.steered import SteeredEngine, connected, says, started_worker, until


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as opened:
        yield opened


async def workers(calls: Calls) -> list[edge_pb2.Worker]:
    return list((await calls.fleet.ListWorkers(edge_pb2.ListWorkersRequest(), metadata=calls.operator)).workers)


async def reasons(calls: Calls, job_id: str) -> list[str]:
    """Why attempts of a job did not complete."""
    return [
        job_pb2.ErrorReason.Name(event.retry.error.reason).removeprefix("ERROR_REASON_")
        async for event in calls.watch(job_id)
        if event.HasField("retry")
    ]


async def test_what_a_draining_worker_cannot_finish_goes_on_elsewhere_and_costs_no_attempt(
    start_edge: StartEdge, stack: contextlib.AsyncExitStack
):
    first, second = SteeredEngine(), SteeredEngine()
    second.released.set()
    leaving, staying = await started_worker(first), await started_worker(second)
    await staying.stop()
    ann = await connected(await start_edge([leaving.address, staying.address]), ANN, stack)
    job = await ann.submit(chat=says("one wait two"))
    await until(lambda: first.running)
    stack.push_async_callback((await started_worker(second, staying.address)).stop)
    await leaving.stop()
    ended = await ann.ended(job.id)
    assert ended.status == job_pb2.JOB_STATUS_COMPLETED
    assert first.running == 0
    assert len(second.requests) == 1
    assert len(ended.attempts) == 1  # the one that was handed back does not count
    assert await reasons(ann, job.id) == ["DRAINING"]
    assert [(w.failures, w.HasField("ejected_until")) for w in await workers(ann)] == [(0, False)] * 2


async def test_a_worker_whose_engine_fails_is_ejected_and_proves_itself(
    start_edge: StartEdge, stack: contextlib.AsyncExitStack
):
    worker = await started_worker(SteeredEngine())
    stack.push_async_callback(worker.stop)
    ann = await connected(await start_edge([worker.address]), ANN, stack)
    for _ in range(3):
        job = await ann.submit(chat=says("fail"))
        assert (await ann.ended(job.id)).status == job_pb2.JOB_STATUS_FAILED
    [message] = await workers(ann)
    assert message.failures == 3
    assert message.ejected_until.ToMilliseconds() / 1000 < time.time() + 1
    job = await ann.submit(chat=says("one two"))
    assert (await ann.ended(job.id)).status == job_pb2.JOB_STATUS_COMPLETED
    [message] = await workers(ann)
    assert (message.failures, message.HasField("ejected_until")) == (0, False)


async def test_a_job_on_a_frozen_worker_goes_on_elsewhere(
    start_edge: StartEdge, stack: contextlib.AsyncExitStack, tmp_path: Path
):
    engine = SteeredEngine()
    spare = await started_worker(engine)
    await spare.stop()
    child = stack.enter_context(process(tmp_path, script="hangs"))
    ann = await connected(await start_edge([await child.address(), spare.address]), ANN, stack)
    job = await ann.submit(chat=says("one two"))
    async for event in ann.watch(job.id):
        if event.HasField("delta"):
            break
    stack.push_async_callback((await started_worker(engine, spare.address)).stop)
    child.signal(signal.SIGSTOP)
    assert (await ann.ended(job.id)).status == job_pb2.JOB_STATUS_COMPLETED
    assert await reasons(ann, job.id) == ["WORKER_LOST"]
    frozen = next(w for w in await workers(ann) if w.address != spare.address)
    assert (frozen.failures, frozen.HasField("status")) == (1, False)
