"""Jobs through a real edge, a real PostgreSQL and a real chat worker; only the engine is a stand-in one can steer."""

import asyncio
import contextlib

import grpc
import pytest

from atelier.contracts.errors import from_rpc_error
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.adapters.database import Database
from edge_service.planning.chat_contexts import contexts
from edge_service.queue import dispatcher, leases
from edge_service.queue.execution import Execution
from shared.server import Server
from tests.kit.edge import ANN, BOB, Calls, StartEdge
from tests.kit.logs import everything_logged
from tests.kit.steered import SteeredEngine, connected, says, started_worker, turn, until


async def _read(call):
    while True:
        yield await call.read()


async def test_a_job_runs_and_tells_its_whole_story(ann: Calls):
    job = await ann.submit(chat=says("red fox in snow"))
    assert job.status == job_pb2.JOB_STATUS_QUEUED
    events = [event async for event in ann.watch(job.id)]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.status for event in events[:2]] == [job_pb2.JOB_STATUS_QUEUED, job_pb2.JOB_STATUS_PROCESSING]
    assert "".join(event.delta.text for event in events if event.HasField("delta")) == "red fox in snow "
    ended = events[-1].ended
    assert ended.status == job_pb2.JOB_STATUS_COMPLETED
    assert ended.chat_callback.assets[0].content == "red fox in snow "
    assert ended.chat_callback.job_id == job.id
    assert ended == (await ann.get(job.id))
    [routed] = [each for each in ended.decisions if each.field == "worker_id"]
    assert routed.to == ended.attempts[0].worker_id != ""
    assert routed.why == (
        "attempt 1: free slots 1 of 1, speed not measured, breaker trusted, resident models qwen_base,"
        " qwen_instruct; no other worker was considered"
    )


async def test_what_reaches_the_engine_is_complete_and_as_asked(ann: Calls, engine: SteeredEngine):
    job = await ann.submit(chat=says("hi") | {"temperature": 0, "max_tokens": 100})
    await ann.ended(job.id)
    asked = engine.requests[0]
    assert (asked.temperature, asked.max_tokens, asked.top_p, asked.model) == (0.0, 100, 0.9, "qwen_instruct")
    begins = contexts().contexts["conversation"].sfw
    assert [(turn.role, turn.content) for turn in asked.messages] == [("system", begins), ("user", "hi")]


async def test_a_watch_can_be_left_and_resumed_without_gap_or_double(ann: Calls, engine: SteeredEngine):
    job = await ann.submit(chat=says("one two wait three"))
    first = []
    async for event in ann.watch(job.id):
        first.append(event)
        if event.HasField("delta") or len(first) == 3:
            break
    engine.released.set()
    rest = [event async for event in ann.watch(job.id, first[-1].sequence)]
    everything = [event async for event in ann.watch(job.id)]
    assert [event.sequence for event in first + rest] == [event.sequence for event in everything]
    assert rest[-1].HasField("ended")


async def test_a_watch_resumed_after_the_end_ends(ann: Calls):
    job = await ann.submit(chat=says("hi"))
    last = (await ann.ended(job.id)).last_sequence
    assert [event async for event in ann.watch(job.id, last)] == []


async def test_cancelling_a_running_job_stops_the_engine_and_is_final(ann: Calls, engine: SteeredEngine):
    job = await ann.submit(chat=says("wait for ever"))
    await until(lambda: engine.running)
    told = await ann.cancel(job.id)
    await until(lambda: not engine.running)
    assert told.status == job_pb2.JOB_STATUS_CANCELLED
    assert (await ann.ended(job.id)).status == job_pb2.JOB_STATUS_CANCELLED
    after = await ann.submit(chat=says("next"))
    assert (await ann.ended(after.id)).status == job_pb2.JOB_STATUS_COMPLETED


async def test_cancelling_a_queued_job_keeps_it_from_the_engine(ann: Calls, engine: SteeredEngine):
    running = await ann.submit(chat=says("wait"))
    await until(lambda: engine.running)
    queued = await ann.submit(chat=says("never"))
    assert (await ann.get(queued.id)).queue_position == 1
    assert (await ann.cancel(queued.id)).status == job_pb2.JOB_STATUS_CANCELLED
    engine.released.set()
    await ann.ended(running.id)
    assert [request.messages[-1].content for request in engine.requests] == ["wait"]


async def test_an_engine_that_fails_fails_the_job_with_its_reason(ann: Calls):
    job = await ann.ended((await ann.submit(chat=says("fail"))).id)
    assert (job.status, job.error.reason) == (job_pb2.JOB_STATUS_FAILED, job_pb2.ERROR_REASON_ENGINE_FAILED)
    assert job.attempts[0].error.reason == job_pb2.ERROR_REASON_ENGINE_FAILED
    assert len(job.attempts) == 1


async def test_a_deadline_reaches_the_engine(ann: Calls, engine: SteeredEngine):
    job = await ann.submit(chat=says("wait"), deadline="1s")
    ended = await ann.ended(job.id)
    assert (ended.status, ended.error.reason) == (job_pb2.JOB_STATUS_EXPIRED, job_pb2.ERROR_REASON_DEADLINE_EXCEEDED)
    await until(lambda: not engine.running)


async def test_a_worker_that_dies_costs_the_job_an_attempt_and_not_its_life(
    ann: Calls, engine: SteeredEngine, worker: Server
):
    job = await ann.submit(chat=says("wait"))
    await until(lambda: engine.running)
    await worker.stop()
    engine.released.set()
    again = await started_worker(engine, worker.address)
    ended = await ann.ended(job.id)
    await again.stop()
    assert ended.status == job_pb2.JOB_STATUS_COMPLETED
    assert [attempt.error.reason for attempt in ended.attempts][-1] == job_pb2.ERROR_REASON_UNSPECIFIED


async def test_a_job_waits_for_a_worker_that_comes_later(
    start_edge: StartEdge, engine: SteeredEngine, stack: contextlib.AsyncExitStack
):
    placeholder = await started_worker(engine)
    await placeholder.stop()
    channel = await stack.enter_async_context(
        grpc.aio.insecure_channel((await start_edge([placeholder.address])).address)
    )
    ann = Calls(channel, ANN)
    job = await ann.submit(chat=says("hi"))
    late = await started_worker(engine, placeholder.address)
    assert (await ann.ended(job.id)).status == job_pb2.JOB_STATUS_COMPLETED
    await late.stop()


async def test_an_edge_that_stops_gives_its_jobs_back_and_another_goes_on(
    start_edge: StartEdge, worker: Server, engine: SteeredEngine, stack: contextlib.AsyncExitStack
):
    first = await start_edge([worker.address])
    ann = await connected(first, ANN, stack)
    job = await ann.submit(chat=says("wait"))
    await until(lambda: engine.running)
    await first.stop()
    engine.released.set()
    second = await connected(await start_edge([worker.address]), ANN, stack)
    ended = await second.ended(job.id)
    assert ended.status == job_pb2.JOB_STATUS_COMPLETED
    assert len(ended.attempts) == 1  # the attempt that the edge gave back does not count


async def test_a_job_whose_edge_died_is_taken_over(
    start_edge: StartEdge, worker: Server, engine: SteeredEngine, stack: contextlib.AsyncExitStack, monkeypatch
):
    async def dead(execution: Execution) -> None: ...

    monkeypatch.setattr(leases, "LEASE", "interval '1 second'")
    monkeypatch.setattr(Execution, "renew", dead)
    ann = await connected(await start_edge([worker.address]), ANN, stack)
    job = await ann.submit(chat=says("wait"))
    await until(lambda: engine.running)
    async with asyncio.timeout(10):
        while not (await ann.get(job.id)).attempts[0].HasField("ended"):
            await asyncio.sleep(0.1)
    monkeypatch.setattr(leases, "LEASE", "interval '10 seconds'")
    engine.released.set()
    ended = await ann.ended(job.id)
    assert ended.status == job_pb2.JOB_STATUS_COMPLETED
    assert ended.attempts[0].error.reason == job_pb2.ERROR_REASON_EDGE_LOST


async def test_a_lease_that_ran_out_while_the_database_stood_still_is_kept(
    ann: Calls, engine: SteeredEngine, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dispatcher, "RENEW_SECONDS", 60.0)  # the sweep is the first to look
    job = await ann.submit(chat=says("wait"))
    await until(lambda: engine.running)
    await asyncio.sleep(3.5)  # the renewal that was already on its way
    async with database.connection() as connection:
        await connection.execute("UPDATE jobs SET lease_expires = now() - interval '1 second'")
    await asyncio.sleep(1.5)  # at least one sweep
    engine.released.set()
    ended = await ann.ended(job.id)
    assert (ended.status, len(ended.attempts)) == (job_pb2.JOB_STATUS_COMPLETED, 1)


async def test_a_chat_turn_streams_and_is_recorded_as_a_job(ann: Calls):
    events = [event async for event in ann.chat.Chat(turn("red fox"), metadata=ann.metadata)]
    assert events[0].HasField("accepted")
    assert [event.delta.text for event in events if event.HasField("delta")] == ["red ", "fox "]
    assert events[-1].callback.assets[0].content == "red fox "
    job = await ann.get(events[0].accepted.id)
    assert (job.status, job.type) == (job_pb2.JOB_STATUS_COMPLETED, "chat_turn")
    assert job.chat_callback == events[-1].callback
    [routed] = [each for each in job.decisions if each.field == "worker_id"]
    assert routed.why.startswith("attempt 1: free slots 1 of 1, speed not measured, breaker trusted")


async def test_a_chat_turn_without_a_worker_is_told_at_once(start_edge: StartEdge, stack: contextlib.AsyncExitStack):
    channel = await stack.enter_async_context(grpc.aio.insecure_channel((await start_edge()).address))
    ann = Calls(channel, ANN)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        async for _ in ann.chat.Chat(turn("hi"), metadata=ann.metadata):
            pass
    assert failure.value.code() == grpc.StatusCode.UNAVAILABLE
    assert type(from_rpc_error(failure.value)).__name__ == "NoWorker"
    assert failure.value.details() == "no chat worker with qwen_instruct is connected"


async def test_a_caller_who_leaves_a_chat_stops_the_engine(ann: Calls, engine: SteeredEngine):
    call = ann.chat.Chat(turn("one wait"), metadata=ann.metadata)
    job_id = (await call.read()).accepted.id
    await until(lambda: engine.running)
    call.cancel()
    await until(lambda: not engine.running)
    assert (await ann.ended(job_id)).status == job_pb2.JOB_STATUS_CANCELLED


async def test_a_caller_who_leaves_at_once_leaves_no_open_job_behind(
    ann: Calls, engine: SteeredEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(leases, "LEASE", "interval '2 seconds'")
    for delay in (0.0, 0.002, 0.005, 0.01, 0.02) * 4:
        call = ann.chat.Chat(turn("one wait"), metadata=ann.metadata)
        await asyncio.sleep(delay)
        call.cancel()
    await until(lambda: not engine.running)
    listed = edge_pb2.ListJobsRequest(statuses=[job_pb2.JOB_STATUS_LEASED, job_pb2.JOB_STATUS_PROCESSING])
    async with asyncio.timeout(10):
        while (await ann.jobs.ListJobs(listed, metadata=ann.metadata)).jobs:
            await asyncio.sleep(0.1)


async def test_a_list_of_large_jobs_comes_in_pages_that_a_client_takes(ann: Calls):
    large = {"messages": [{"role": "user", "content": "y" * 30_000}] * 8}
    ids = [(await ann.submit(chat=large)).id for _ in range(10)]
    seen: list[str] = []
    request = edge_pb2.ListJobsRequest(page_size=100)
    while True:
        page = await ann.jobs.ListJobs(request, metadata=ann.metadata)
        assert page.ByteSize() < 2 * 2**20
        seen += [job.id for job in page.jobs]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == ids[::-1]


async def listed(calls: Calls, page_size: int) -> list[str]:
    """The ids of all jobs, read page by page."""
    seen: list[str] = []
    request = edge_pb2.ListJobsRequest(page_size=page_size)
    while True:
        page = await calls.jobs.ListJobs(request, metadata=calls.metadata, timeout=10)
        assert len(page.jobs) <= page_size
        seen += [job.id for job in page.jobs]
        if not page.next_page_token:
            return seen
        request.page_token = page.next_page_token


async def test_a_list_ends_however_many_jobs_there_are(ann: Calls):
    ids: list[str] = []
    for _ in range(12):
        for page_size in (1, 4, 5, 6, 20):
            assert await listed(ann, page_size) == ids[::-1]
        ids.append((await ann.submit(chat=says("wait"))).id)


async def test_cancelling_a_chat_turn_ends_it_for_its_caller(ann: Calls, engine: SteeredEngine):
    call = ann.chat.Chat(turn("one wait"), metadata=ann.metadata)
    job_id = (await call.read()).accepted.id
    await until(lambda: engine.running)
    await ann.cancel(job_id)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await anext(message async for message in _read(call) if message is grpc.aio.EOF)
    assert failure.value.code() == grpc.StatusCode.CANCELLED
    await until(lambda: not engine.running)


async def test_bob_sees_nothing_of_anns(ann: Calls, start_edge: StartEdge, worker: Server, stack):
    job = await ann.submit(chat=says("secret"))
    await ann.ended(job.id)
    bob = await connected(await start_edge([worker.address]), BOB, stack)
    listed = await bob.jobs.ListJobs(edge_pb2.ListJobsRequest(), metadata=bob.metadata)
    assert list(listed.jobs) == []
    for call in (bob.get(job.id), bob.cancel(job.id), bob.ended(job.id)):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call
        assert failure.value.code() == grpc.StatusCode.NOT_FOUND


async def test_no_log_line_holds_a_prompt_an_answer_or_a_token(ann: Calls, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    await ann.ended((await ann.submit(chat=says("xylophone"))).id)
    assert "job started" in caplog.text
    everything = everything_logged(caplog)
    assert "xylophone" not in everything
    assert ANN not in everything
