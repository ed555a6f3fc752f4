"""What a caller sees of an error: always a typed status, never the text of an exception. Real server, real stub."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as details_pb2
from prometheus_client import REGISTRY

from atelier.contracts import errors
from atelier.contracts.errors import (
    DeadlineExceeded,
    Internal,
    InvalidRequest,
    JobNotFound,
    MalformedMessage,
    NoFreeSlot,
    Unauthenticated,
    from_rpc_error,
    status_of,
)
from atelier.pb.chat.v1 import chat_pb2, chat_pb2_grpc
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from shared.interceptors import caller
from tests.kit.servers import Serve
from tests.kit.stand_in import Context, StandIn

LOAD_MODEL = "/atelier.worker.v1.WorkerService/LoadModel"
SECRET = "sentinel-8731"


async def fail(call: Any) -> grpc.aio.AioRpcError:
    """The error that a call, unary or streaming, ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call if isinstance(call, grpc.aio.UnaryUnaryCall) else [response async for response in call]
    return raised.value


def load_model(channel: grpc.aio.Channel, **options: Any) -> Any:
    return worker_pb2_grpc.WorkerServiceStub(channel).LoadModel(worker_pb2.LoadModelRequest(name="model"), **options)


def watch_status(channel: grpc.aio.Channel, **options: Any) -> Any:
    return worker_pb2_grpc.WorkerServiceStub(channel).WatchStatus(worker_pb2.WatchStatusRequest(), **options)


def send_bytes(channel: grpc.aio.Channel, body: bytes, method: str = LOAD_MODEL) -> Any:
    """Calls a unary method with a body that no stub would send."""
    return channel.unary_unary(method)(body)


def raising(error: Exception) -> StandIn:
    async def unary(request: Any, context: Context) -> None:
        raise error

    async def stream(request: Any, context: Context) -> AsyncIterator[worker_pb2.WatchStatusResponse]:
        yield worker_pb2.WatchStatusResponse(slots=1)
        raise error

    return StandIn(unary, stream)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xff\xff\xff",
        b"\x0a\x05ab",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0a\x02\xc3\x28",
        b"\x0a\x01\xff",
        bytes(1000),
    ],
    ids=["garbage", "truncated", "overlong", "half a character", "no UTF-8", "zeros"],
)
async def test_bytes_that_are_no_message_are_named_so(serve: Serve, body: bytes) -> None:
    channel = await serve(StandIn())
    error = await fail(send_bytes(channel, body))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert isinstance(from_rpc_error(error), MalformedMessage)
    await load_model(channel)  # and it keeps serving


async def test_an_empty_body_is_an_empty_message(serve: Serve) -> None:
    error = from_rpc_error(await fail(send_bytes(await serve(StandIn()), b"")))
    assert isinstance(error, InvalidRequest)
    assert [violation.field for violation in error.violations] == ["name"]


async def test_a_message_over_the_size_limit_is_refused(serve: Serve) -> None:
    channel = await serve(StandIn())
    error = await fail(send_bytes(channel, bytes(5 * 1024 * 1024)))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert isinstance(from_rpc_error(error), errors.MessageTooLarge)
    await load_model(channel)


async def test_an_unknown_method_is_unimplemented(serve: Serve) -> None:
    error = await fail(send_bytes(await serve(StandIn()), b"", "/atelier.worker.v1.WorkerService/Nothing"))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("call", [load_model, watch_status])
async def test_the_text_of_an_exception_never_leaks(serve: Serve, caplog: pytest.LogCaptureFixture, call: Any) -> None:
    channel = await serve(raising(ZeroDivisionError(SECRET)))
    error = await fail(call(channel))
    assert error.code() == grpc.StatusCode.INTERNAL
    assert SECRET not in str(error)
    assert "ZeroDivision" not in str(error)
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert vars(record)["error_id"] in (error.details() or "")
    assert record.exc_info
    assert isinstance(from_rpc_error(error), Internal)


@pytest.mark.parametrize("call", [load_model, watch_status])
async def test_a_typed_error_comes_through_whole(serve: Serve, call: Any) -> None:
    error = await fail(call(await serve(raising(JobNotFound("no job x_1")))))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert error.details() == "no job x_1"
    found = from_rpc_error(error)
    assert (type(found), found.message) == (JobNotFound, "no job x_1")


@pytest.mark.parametrize("kind", errors.TABLE, ids=lambda kind: kind.__name__)
async def test_every_error_of_the_table_arrives_as_itself(serve: Serve, kind: Any) -> None:
    given = kind(errors.Violation("job.id", "is odd")) if issubclass(kind, InvalidRequest) else kind("so it is")
    found = from_rpc_error(await fail(load_model(await serve(raising(given)))))
    assert (type(found), found.message) == (kind, given.message)


async def test_a_status_that_a_handler_set_itself_passes(serve: Serve) -> None:
    async def unary(request: Any, context: Context) -> None:
        await context.abort(grpc.StatusCode.ABORTED, "by the handler")

    error = await fail(load_model(await serve(StandIn(unary))))
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "by the handler")


async def test_a_stream_yields_what_came_before_its_error(serve: Serve) -> None:
    received = []
    with contextlib.suppress(grpc.aio.AioRpcError):
        async for response in watch_status(await serve(raising(JobNotFound("gone")))):
            received.append(response.slots)
    assert received == [1]


async def test_the_guard_is_asked_before_the_message_is_looked_at(serve: Serve) -> None:
    def nobody(method: str, metadata: Mapping[str, str | bytes]) -> object:
        raise Unauthenticated("send a token")

    channel = await serve(StandIn(guard=nobody))
    for body in (b"", b"\xff\xff"):
        assert (await fail(send_bytes(channel, body))).code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_handler_knows_whom_the_guard_let_in(serve: Serve) -> None:
    seen = []

    async def unary(request: Any, context: Context) -> None:
        seen.append(caller.get())

    def guard(method: str, metadata: Mapping[str, str | bytes]) -> object:
        return method, metadata["authorization"]

    channel = await serve(StandIn(unary, guard=guard))
    await load_model(channel, metadata=(("authorization", "Bearer x"),))
    assert seen == [(LOAD_MODEL, "Bearer x")]


async def test_no_free_slot_says_when_to_come_back(serve: Serve) -> None:
    error = await fail(load_model(await serve(raising(NoFreeSlot("full", retry_after_seconds=1.5)))))
    assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "1500"
    [info] = [d for d in status_of(error).details if d.Is(details_pb2.RetryInfo.DESCRIPTOR)]
    assert details_pb2.RetryInfo.FromString(info.value).retry_delay.ToMilliseconds() == 1500


class Chat(StandIn, chat_pb2_grpc.ChatServiceServicer):
    """Has an RPC whose request can break hundreds of rules."""

    def register(self, server: grpc.aio.Server) -> None:
        chat_pb2_grpc.add_ChatServiceServicer_to_server(self, server)


@pytest.mark.parametrize("content", ["", "x" * 40_000, "界" * 40_000])
@pytest.mark.parametrize("word", ["a", "界" * 39, "\n" * 39])
async def test_hundreds_of_violations_fit_into_one_status(serve: Serve, word: str, content: str) -> None:
    channel = await serve(Chat())
    messages = [chat_pb2.ChatMessage(role=99, content=content[: 40_000 if n < 20 else 0]) for n in range(256)]
    request = chat_pb2.GenerateRequest(job_id=word + "!", user_id=word + "!", request={"messages": messages})
    for _ in range(5):  # over 8 KiB grpc drops a status by chance, not always
        error = await fail(chat_pb2_grpc.ChatServiceStub(channel).Generate(request))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        found = from_rpc_error(error)
        assert isinstance(found, InvalidRequest)
        assert found.violations[-1].description.startswith("and ")


@pytest.mark.parametrize("kind", [InvalidRequest, Internal])
@pytest.mark.parametrize("letter", ["x", "é", "界", "\U0001f5fc"])
async def test_no_error_is_too_long_to_arrive(serve: Serve, kind: Any, letter: str) -> None:
    given = (
        kind(*[errors.Violation(letter * 20, letter * 100)] * 100) if kind is InvalidRequest else kind(letter * 9000)
    )
    channel = await serve(raising(given))
    for _ in range(10):
        error = await fail(load_model(channel))
        assert error.code() == errors.code(given)
        assert type(from_rpc_error(error)) is kind


async def test_a_timeout_inside_a_handler_is_a_deadline_that_passed(serve: Serve) -> None:
    error = await fail(load_model(await serve(raising(TimeoutError()))))
    assert isinstance(from_rpc_error(error), DeadlineExceeded)


@pytest.mark.parametrize("call", [load_model, watch_status])
@pytest.mark.parametrize("way", ["cancel", "deadline"])
async def test_a_caller_that_goes_away_ends_the_handler(serve: Serve, call: Any, way: str) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def unary(request: Any, context: Context) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def stream(request: Any, context: Context) -> AsyncIterator[worker_pb2.WatchStatusResponse]:
        yield worker_pb2.WatchStatusResponse()
        await unary(request, context)

    pending = call(await serve(StandIn(unary, stream)), timeout=0.3 if way == "deadline" else None)
    if isinstance(pending, grpc.aio.UnaryStreamCall):
        await pending.read()
    await asyncio.wait_for(started.wait(), 5)
    if way == "cancel":
        pending.cancel()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_stream_that_nobody_reads_any_more_is_closed(serve: Serve) -> None:
    """The handler waits inside its yield, for a reader that does not read; cancelling must still reach it."""
    ended = asyncio.Event()

    async def stream(request: Any, context: Context) -> AsyncIterator[worker_pb2.WatchStatusResponse]:
        try:
            while True:
                yield worker_pb2.WatchStatusResponse(loaded_models=["x" * 100_000])
        finally:
            ended.set()

    call = watch_status(await serve(StandIn(stream=stream)))
    await call.read()
    await asyncio.sleep(0.2)
    call.cancel()
    await asyncio.wait_for(ended.wait(), 5)


def counted(code: str) -> float:
    return REGISTRY.get_sample_value("atelier_rpcs_total", {"method": LOAD_MODEL, "code": code}) or 0.0


async def test_every_rpc_is_counted_by_its_code(serve: Serve) -> None:
    before = {code: counted(code) for code in ("OK", "NOT_FOUND")}
    await load_model(await serve(StandIn()))
    await fail(load_model(await serve(raising(JobNotFound("gone")))))
    assert {code: counted(code) - before[code] for code in before} == {"OK": 1, "NOT_FOUND": 1}


async def test_a_guard_that_has_to_ask_is_waited_for(serve: Serve) -> None:
    seen = []

    async def asked() -> str:
        await asyncio.sleep(0)
        return "ann"

    async def unary(request: Any, context: Context) -> None:
        seen.append(caller.get())

    async def stream(request: Any, context: Context) -> AsyncIterator[worker_pb2.WatchStatusResponse]:
        seen.append(caller.get())
        yield worker_pb2.WatchStatusResponse()

    channel = await serve(StandIn(unary, stream, guard=lambda method, metadata: asked()))
    await load_model(channel)
    await watch_status(channel).read()
    assert seen == ["ann", "ann"]


async def test_a_guard_that_refuses_after_asking_is_asked_before_the_message_is_looked_at(serve: Serve) -> None:
    async def nobody() -> None:
        raise Unauthenticated("send a token")

    channel = await serve(StandIn(guard=lambda method, metadata: nobody()))
    for body in (b"", b"\xff\xff"):
        assert (await fail(send_bytes(channel, body))).code() == grpc.StatusCode.UNAUTHENTICATED
