"""The one interceptor of every server: decode safely, authorise, validate, translate errors, count.

One, not five: each layer costs about as much as an empty RPC. It is also a security feature, because grpc.aio sends the
text of a bare exception to the client.
"""

import asyncio
import contextlib
import contextvars
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from types import CoroutineType
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2
from grpc_status import rpc_status

from atelier.contracts.errors import (
    AtelierError,
    DeadlineExceeded,
    Draining,
    Internal,
    MalformedMessage,
    NoFreeSlot,
    to_status,
)
from shared import telemetry, validation

log = logging.getLogger(__name__)

# Takes the method's full name and the call's metadata; returns who is calling, or raises an AtelierError. It returns a
# coroutine of that only where it has to ask: awaiting costs every call.
Guard = Callable[[str, Mapping[str, str | bytes]], object]
# Who is calling, as the guard returned it.
caller: contextvars.ContextVar[Any] = contextvars.ContextVar("caller")
# Health, reflection: served to anyone and not ours to validate.
OPEN = ("/grpc.health.v1.", "/grpc.reflection.")
HANDED_BACK = "the server stops before this could be finished; try again elsewhere"


Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Call:
    """One call that runs, by the task of its handler; the block it stands in is the time it runs.

    Not a generator with a decorator, which costs each call as much as looking its handler up.
    """

    def __init__(self, running: "set[Call]") -> None:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._sending = self.handed_back = False
        self._running = running

    def __enter__(self) -> "Call":
        self._running.add(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Raises Draining in place of the cancellation that handed the call back."""
        self._running.discard(self)
        if self.handed_back and isinstance(error, asyncio.CancelledError):
            raise Draining(HANDED_BACK) from None

    def hand_back(self) -> None:
        """Ends the handler. Not while gRPC sends for it: a task cancelled then would leave the call open for ever."""
        self.handed_back = True
        if not self._sending:
            self._task.cancel()

    def sending(self) -> None:
        """A response goes out now."""
        self._sending = True

    def sent(self) -> None:
        """It is out. Raises Draining if the call was handed back meanwhile."""
        self._sending = False
        if self.handed_back:
            raise Draining(HANDED_BACK)


class Calls:
    """The calls that run now."""

    def __init__(self) -> None:
        self._running: set[Call] = set()

    def one(self) -> Call:
        """The current task's call, to be entered."""
        return Call(self._running)

    def hand_back(self) -> None:
        """Ends the handlers of all running calls; their callers are told Draining, and may go elsewhere."""
        for call in list(self._running):
            call.hand_back()


class Interceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Wraps every handler of our contracts. `guard` authorises a call before its message is even looked at."""

    def __init__(self, guard: Guard | None = None) -> None:
        self._guard = guard
        self.calls = Calls()
        self._handlers: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        method = handler_call_details.method
        if wrapped := self._handlers.get(method):
            return wrapped
        handler = await continuation(handler_call_details)
        # None stands for an unknown method; grpc answers it.
        if handler is None or method.startswith(OPEN):
            return handler
        # Wrapped once, for wrapping costs a tenth of an empty call. Only known methods get here, so this cannot grow.
        self._handlers[method] = self._wrapped(handler, _Guarded(handler, method, self._guard, self.calls))
        return self._handlers[method]

    def _wrapped(self, handler: Handler, guarded: "_Guarded") -> Handler:
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                guarded.stream, _tolerant(handler.request_deserializer), handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            guarded.unary, _tolerant(handler.request_deserializer), handler.response_serializer
        )


class _Guarded:
    """One handler and the checks around it."""

    def __init__(self, handler: Any, method: str, guard: Guard | None, calls: Calls) -> None:
        self._handler, self._method, self._guard, self._calls = handler, method, guard, calls

    async def unary(self, request: Message | None, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
        started = time.perf_counter()
        try:
            if asking := self._admit(context):
                caller.set(await asking)
            self._check(request)
            with self._calls.one():
                response: Message = await self._handler.unary_unary(request, context)
        except BaseException as error:
            await self._fail(error, context, started)
            raise
        telemetry.record_rpc(self._method, "OK", time.perf_counter() - started)
        return response

    async def stream(
        self, request: Message | None, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Message]:
        started = time.perf_counter()
        try:
            if asking := self._admit(context):
                caller.set(await asking)
            self._check(request)
            # Closed here and now, not when the garbage is collected: the handler may hold a slot.
            with self._calls.one() as call:
                async with contextlib.aclosing(self._handler.unary_stream(request, context)) as responses:
                    async for response in responses:
                        call.sending()
                        yield response
                        call.sent()
        except BaseException as error:
            await self._fail(error, context, started)
            raise
        telemetry.record_rpc(self._method, "OK", time.perf_counter() - started)

    def _admit(self, context: grpc.aio.ServicerContext[Any, Any]) -> Coroutine[Any, Any, object] | None:
        """Asks the guard who calls; returns what must be awaited to know, if it cannot tell at once."""
        if self._guard is None:
            return None
        metadata = cast(Iterable[tuple[str, str | bytes]], context.invocation_metadata() or ())
        found = self._guard(self._method, dict(metadata))
        if isinstance(found, CoroutineType):
            return found
        caller.set(found)
        return None

    def _check(self, request: Message | None) -> None:
        if request is None:
            raise MalformedMessage("the bytes are no message of this RPC, or text in them is not UTF-8")
        validation.check(request)

    async def _fail(self, error: BaseException, context: grpc.aio.ServicerContext[Any, Any], started: float) -> None:
        """Ends the call with the error's status. Returns only for what must pass through untouched."""
        seconds = time.perf_counter() - started
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            # Swallowing a cancellation leaks the stream; the peer is gone, so there is no caller to tell.
            telemetry.record_rpc(self._method, "CANCELLED", seconds)
            return
        if isinstance(error, grpc.aio.AbortError) or not isinstance(error, Exception):
            return
        answer = _translate(error, self._method)
        status = to_status(answer)
        telemetry.record_rpc(self._method, grpc_code_name(status), seconds)
        log.debug("rpc failed", extra={"method": self._method, "code": grpc_code_name(status)})
        if isinstance(answer, NoFreeSlot):
            pushback = str(int(answer.retry_after_seconds * 1000))
            context.set_trailing_metadata((("grpc-retry-pushback-ms", pushback),))
        await _abort(context, status, answer)


async def _abort(context: grpc.aio.ServicerContext[Any, Any], status: status_pb2.Status, answer: AtelierError) -> None:
    rich = rpc_status.to_status(status)
    trailing = (*(context.trailing_metadata() or ()), *rich.trailing_metadata)
    await context.abort(rich.code, rich.details, trailing)


def _translate(error: Exception, method: str) -> AtelierError:
    if isinstance(error, AtelierError):
        return error
    if isinstance(error, TimeoutError):
        return DeadlineExceeded("the deadline passed")
    error_id = secrets.token_hex(6)
    log.error("unexpected error", exc_info=error, extra={"method": method, "error_id": error_id})
    return Internal(f"internal error {error_id}; the server's log has it under this id")


def grpc_code_name(status: status_pb2.Status) -> str:
    """The name of a status' code, such as "INVALID_ARGUMENT"."""
    return next(code.name for code in grpc.StatusCode if code.value[0] == status.code)


def _tolerant(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """grpc.aio answers an undecodable body with UNKNOWN; None lets the check name it instead."""

    def decode_or_none(data: bytes) -> Any:
        assert decode is not None
        try:
            return decode(data)
        except DecodeError:
            return None

    return decode_or_none
