"""What a job survives, and what its owner is told of it."""

import asyncio
import contextlib

import grpc
import pytest
from google.rpc import error_details_pb2

from atelier.contracts.errors import CapabilityMissing, status_of
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from chat_service.servicer import ChatServicer
from edge_service.adapters.database import Database
from edge_service.planning import planner as plan
from edge_service.queue import retries
from edge_service.queue.estimates.queue_forecast import QueueForecast
from shared.server import Server
from tests.kit.edge import ANN, Calls, StartEdge
from tests.kit.steered import SteeredEngine, connected, killed, says, started_worker, until


async def refused(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value


async def test_a_job_that_kills_three_workers_fails_and_travels_no_further(
    ann: Calls, engine: SteeredEngine, worker: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0.1)
    job = await ann.submit(chat=says("wait"))
    server, address = worker, worker.address
    for attempt in range(1, 4):
        await until(lambda attempt=attempt: len(engine.requests) == attempt)
        await killed(server)
        server = await started_worker(engine, address)
    ended = await ann.ended(job.id)
    await server.stop()
    assert (ended.status, ended.error.reason) == (job_pb2.JOB_STATUS_FAILED, job_pb2.ERROR_REASON_WORKER_LOST)
    assert [attempt.error.reason for attempt in ended.attempts] == [job_pb2.ERROR_REASON_WORKER_LOST] * 3


async def test_a_worker_that_gives_up_unasked_does_not_cancel_the_job(ann: Calls, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0.1)
    ended = await ann.ended((await ann.submit(chat=says("give-up"))).id)
    assert (ended.status, ended.error.reason) == (job_pb2.JOB_STATUS_FAILED, job_pb2.ERROR_REASON_WORKER_LOST)
    assert len(ended.attempts) == 3


async def test_what_was_stored_stays_so_though_it_would_be_refused_today(ann: Calls, monkeypatch: pytest.MonkeyPatch):
    job = await ann.submit(chat=says("hi"), idempotency_key="k")

    def refuses(*_: object) -> None:
        raise CapabilityMissing("no connected model can do it")

    monkeypatch.setattr(plan, "check_capabilities", refuses)
    assert (await ann.submit(chat=says("hi"), idempotency_key="k")).id == job.id
    for fields in ({"idempotency_key": "other"}, {}):
        failure = await refused(ann.submit(chat=says("hi"), **fields))
        assert failure.code() == grpc.StatusCode.FAILED_PRECONDITION
    await ann.ended(job.id)


async def test_a_result_of_another_job_is_no_result(ann: Calls, monkeypatch: pytest.MonkeyPatch):
    made = ChatServicer._callback

    def forged(*given):
        callback = made(*given)
        callback.job_id = "chat_turn_1_another"
        return callback

    monkeypatch.setattr(ChatServicer, "_callback", forged)
    ended = await ann.ended((await ann.submit(chat=says("hi"))).id)
    assert (ended.status, ended.error.reason) == (job_pb2.JOB_STATUS_FAILED, job_pb2.ERROR_REASON_ENGINE_FAILED)
    assert not ended.HasField("chat_callback")


async def test_a_full_queue_is_told_with_its_limit_and_when_to_come_back(
    ann: Calls, database: Database, monkeypatch: pytest.MonkeyPatch
):
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO jobs (id, owner, type, worker_type, interactive, status, plan, decisions, deadline, needs)"
            " SELECT 'chat_turn_1_' || n, 'ann', 'chat_turn', 'chat', false, 'queued', '', '', now() + interval '1 h',"
            " '{nothing}' FROM generate_series(1, 1000) AS n"
        )
    failure = await refused(ann.submit(chat=says("one too many")))
    assert failure.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "you may have 1000 jobs queued and have 1000" in (failure.details() or "")
    kinds = {detail.TypeName(): detail for detail in status_of(failure).details}
    quota = error_details_pb2.QuotaFailure.FromString(kinds["google.rpc.QuotaFailure"].value)
    assert quota.violations[0].subject == "max_queued"
    retry = error_details_pb2.RetryInfo.FromString(kinds["google.rpc.RetryInfo"].value)
    pushback = dict(failure.trailing_metadata() or ())["grpc-retry-pushback-ms"]
    assert int(pushback) == retry.retry_delay.ToMilliseconds() > 0


async def test_an_ended_job_is_repeated_as_a_new_one_that_names_the_old(ann: Calls):
    old = await ann.ended((await ann.submit(chat=says("red fox") | {"temperature": 0})).id)
    request = edge_pb2.RetryJobRequest(job_id=old.id, idempotency_key="again")
    new = (await ann.jobs.RetryJob(request, metadata=ann.metadata)).job
    assert (new.retry_of, new.chat) == (old.id, old.chat)
    assert (await ann.jobs.RetryJob(request, metadata=ann.metadata)).job.id == new.id
    assert (await ann.ended(new.id)).chat_callback.assets[0].content == "red fox "


async def test_a_repetition_sent_again_is_the_first_though_it_would_be_refused_today(
    ann: Calls, monkeypatch: pytest.MonkeyPatch
):
    old = await ann.ended((await ann.submit(chat=says("red fox"))).id)
    request = edge_pb2.RetryJobRequest(job_id=old.id, idempotency_key="again")
    new = (await ann.jobs.RetryJob(request, metadata=ann.metadata)).job

    def refuse(*_: object) -> None:
        raise CapabilityMissing("the worker that could do it has gone")

    monkeypatch.setattr(plan, "check_capabilities", refuse)
    assert (await ann.jobs.RetryJob(request, metadata=ann.metadata)).job.id == new.id
    request.idempotency_key = "another"
    failure = await refused(ann.jobs.RetryJob(request, metadata=ann.metadata))
    assert failure.code() == grpc.StatusCode.FAILED_PRECONDITION


async def test_an_open_job_cannot_be_repeated(ann: Calls, engine: SteeredEngine):
    job = await ann.submit(chat=says("wait"))
    failure = await refused(ann.jobs.RetryJob(edge_pb2.RetryJobRequest(job_id=job.id), metadata=ann.metadata))
    assert failure.code() == grpc.StatusCode.FAILED_PRECONDITION
    engine.released.set()


async def test_the_more_urgent_job_overtakes(ann: Calls, engine: SteeredEngine):
    running = await ann.submit(chat=says("wait"))
    await until(lambda: engine.running)
    late = await ann.submit(chat=says("later"), priority=-1)
    first = await ann.submit(chat=says("sooner"), priority=1)
    assert (await ann.get(first.id)).queue_position == 1
    assert (await ann.get(late.id)).queue_position == 2
    engine.released.set()
    for job in (running, first, late):
        await ann.ended(job.id)
    assert [request.messages[-1].content for request in engine.requests] == ["wait", "sooner", "later"]


async def test_open_jobs_say_when_they_will_probably_end(ann: Calls, engine: SteeredEngine):
    running = await ann.submit(chat=says("wait"))
    await until(lambda: engine.running)
    queued = await ann.get((await ann.submit(chat=says("hi"))).id)
    estimate = queued.estimate
    assert estimate.start_earliest.ToNanoseconds() <= estimate.start.ToNanoseconds() < estimate.finish.ToNanoseconds()
    assert estimate.finish.ToNanoseconds() <= estimate.finish_latest.ToNanoseconds()
    assert (await ann.get(running.id)).estimate.HasField("finish")
    engine.released.set()
    ended = await ann.ended(queued.id)
    assert not ended.HasField("estimate")
    assert not ended.HasField("queue_position")


async def test_progress_is_written_at_most_ten_times_a_second_and_no_text_is_lost(ann: Calls):
    words = " ".join(f"word{number}" for number in range(300))
    job = await ann.submit(chat=says(words))
    events = [event async for event in ann.watch(job.id)]
    assert "".join(event.delta.text for event in events if event.HasField("delta")) == words + " "
    seconds = (events[-1].time.ToNanoseconds() - events[0].time.ToNanoseconds()) / 1e9
    assert len(events) <= 4 + 10 * (seconds + 1)


async def test_an_edge_that_stops_lets_running_jobs_end_within_its_time(
    start_edge: StartEdge, worker: Server, engine: SteeredEngine, stack: contextlib.AsyncExitStack
):
    first = await start_edge([worker.address])
    ann = await connected(first, ANN, stack)
    job = await ann.submit(chat=says("wait"))
    await until(lambda: engine.running)
    stopping = asyncio.create_task(first.stop())
    await asyncio.sleep(0.1)
    engine.released.set()
    await stopping
    second = await connected(await start_edge([worker.address]), ANN, stack)
    ended = await second.get(job.id)
    assert (ended.status, len(ended.attempts)) == (job_pb2.JOB_STATUS_COMPLETED, 1)
    assert len(engine.requests) == 1


async def test_two_edges_share_a_worker_without_refusals(
    start_edge: StartEdge, engine: SteeredEngine, stack: contextlib.AsyncExitStack
):
    worker = await started_worker(engine, slots=2)
    stack.push_async_callback(worker.stop)
    both = [await connected(await start_edge([worker.address]), ANN, stack) for _ in range(2)]
    ids = [(await both[number % 2].submit(chat=says(f"job {number}"))).id for number in range(40)]
    for job_id in ids:
        ended = await both[1].ended(job_id)
        assert (ended.status, len(ended.attempts)) == (job_pb2.JOB_STATUS_COMPLETED, 1)
    assert len(engine.requests) == len(ids)


async def test_a_chat_turn_takes_no_slot_that_is_taken(ann: Calls, engine: SteeredEngine):
    await ann.submit(chat=says("wait"))
    await until(lambda: engine.running)
    request = edge_pb2.ChatRequest()
    request.request.messages.add(role=2, content="hi")
    failure = await refused(ann.chat.Chat(request, metadata=ann.metadata).read())
    assert failure.code() == grpc.StatusCode.UNAVAILABLE
    engine.released.set()


async def test_a_page_of_queued_jobs_asks_once_for_their_places(
    ann: Calls, engine: SteeredEngine, monkeypatch: pytest.MonkeyPatch
):
    await ann.submit(chat=says("wait"))
    await until(lambda: engine.running)
    queued = [await ann.submit(chat=says("red fox")) for _ in range(12)]
    asked, ask = [], QueueForecast.of
    monkeypatch.setattr(QueueForecast, "of", lambda self, ids: asked.append(ids) or ask(self, ids))
    page = await ann.jobs.ListJobs(edge_pb2.ListJobsRequest(page_size=12), metadata=ann.metadata)
    assert [job.id for job in page.jobs] == [job.id for job in reversed(queued)]
    assert [job.queue_position for job in page.jobs] == list(range(12, 0, -1))
    assert len(asked) == 1
    engine.released.set()
