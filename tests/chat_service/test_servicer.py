"""The worker as a caller sees it: a real server and a real stub, with an engine that does what the test says."""

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from atelier.contracts.errors import (
    DeadlineExceeded,
    Draining,
    EngineFailed,
    InputTooLong,
    InvalidRequest,
    ModelUnusable,
    NoFreeSlot,
    Violation,
    from_rpc_error,
)
from atelier.pb.chat.v1 import chat_pb2, chat_pb2_grpc
from atelier.pb.job.v1 import job_pb2
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from chat_service.config import ChatConfig
from chat_service.engine.engine import TransformersEngine
from chat_service.engine.interface import ChatTurn, Delta, Finished, TextRequest
from chat_service.servicer import ChatEngine, chat_worker
from shared.config import ModelConfig
from shared.server import Server
from tests.kit.asking import checkpoint
from tests.kit.fake_chat_engine import FakeEngine, hangs, says_hello
from tests.kit.fake_engine import Script
from tests.kit.servers import Serve

SECRET = "sentinel-8731"
CONFIG = ChatConfig(model="unused", slots=2, waiting=1, drain_seconds=5)


class Running:
    """A served worker, its engine and a stub of each of its services."""

    def __init__(self, engine: FakeEngine, channel: grpc.aio.Channel) -> None:
        self.engine, self.channel = engine, channel
        self.chat = chat_pb2_grpc.ChatServiceStub(channel)
        self.control = worker_pb2_grpc.WorkerServiceStub(channel)

    def generate(self, request: chat_pb2.GenerateRequest | None = None, **options: Any) -> Any:
        return self.chat.Generate(request or complete(), **options)

    async def status(self) -> worker_pb2.WatchStatusResponse:
        call = self.control.WatchStatus(worker_pb2.WatchStatusRequest())
        status = await call.read()
        call.cancel()
        return cast(worker_pb2.WatchStatusResponse, status)


Start = Callable[[Script], Awaitable[Running]]


@pytest.fixture
def start(serve: Serve) -> Start:
    async def start(script: Script) -> Running:
        engine = FakeEngine(script=script)
        return Running(engine, await serve(chat_worker(CONFIG, lambda on_change: engine), CONFIG))

    return start


def complete(**changes: Any) -> chat_pb2.GenerateRequest:
    """A request that a worker accepts, with some fields of its ChatRequest changed; None leaves a field out."""
    chat: dict[str, Any] = {
        "messages": [chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, content="Say hello.")],
        "max_tokens": 100,
        "temperature": 0.7,
        "top_p": 0.9,
        "model": chat_pb2.CHAT_MODEL_QWEN_INSTRUCT,
        **changes,
    }
    request = chat_pb2.ChatRequest(**{name: value for name, value in chat.items() if value is not None})
    return chat_pb2.GenerateRequest(job_id="chat_turn_1734567890_abc123", user_id="user123", request=request)


async def error_of(call: Any) -> Exception:
    """The error that a call ends with, as the edge understands it."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in call:
            pass
    return from_rpc_error(raised.value)


async def first_event(call: Any) -> chat_pb2.GenerateResponse:
    return cast(chat_pb2.GenerateResponse, await anext(aiter(call)))


async def read_to_first_text(call: Any) -> None:
    while not (await first_event(call)).HasField("delta"):
        pass


async def test_events_are_progress_then_deltas_then_one_callback(start: Start) -> None:
    running = await start(says_hello)
    progress, *deltas, last = [event async for event in running.generate()]
    assert (progress.progress.phase, progress.progress.total_steps) == (job_pb2.PHASE_GENERATING, 100)
    assert [(event.delta.text, event.delta.tokens) for event in deltas] == [("Hel", 1), ("lo 👩", 2)]
    assert last.WhichOneof("event") == "callback"


async def test_the_callback_says_what_was_made_and_by_what(start: Start) -> None:
    running = await start(says_hello)
    system = chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_SYSTEM, content="Be kind.")
    user = chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, content="Say hello.")
    request = complete(messages=[system, user], sfw_mode=True, model=chat_pb2.CHAT_MODEL_QWEN_BASE)
    callback = [event async for event in running.generate(request)][-1].callback
    assert 0 < callback.metadata.processing_time < 5
    callback.metadata.ClearField("processing_time")
    assert callback == chat_pb2.ChatCallback(
        job_id="chat_turn_1734567890_abc123",
        worker_id="chat_worker_001",
        status=job_pb2.JOB_STATUS_COMPLETED,
        assets=[
            chat_pb2.ChatAsset(
                type=job_pb2.ASSET_TYPE_TEXT,
                content="Hello 👩",
                metadata=chat_pb2.ChatAssetMetadata(
                    tokens_generated=2,
                    model_used=chat_pb2.CHAT_MODEL_QWEN_BASE,
                    generation_time=1.5,
                    model_name="another-name",
                    finish_reason=chat_pb2.CHAT_FINISH_REASON_STOP,
                    prompt_tokens=5,
                ),
            )
        ],
        metadata=chat_pb2.ChatCallbackMetadata(
            enhancement_type=chat_pb2.CHAT_ENHANCEMENT_TYPE_NONE,
            sfw_mode=True,
            system_prompt_used="Be kind.",
            vram_used=1234,
        ),
    )


async def test_every_field_reaches_the_engine_as_it_is(start: Start) -> None:
    running = await start(says_hello)
    text = "  a\r\n\tb \u00a0 {{ c }}\n"
    roles = [chat_pb2.CHAT_ROLE_SYSTEM, chat_pb2.CHAT_ROLE_USER, chat_pb2.CHAT_ROLE_ASSISTANT]
    messages = [chat_pb2.ChatMessage(role=role, content=text) for role in roles]
    async for _ in running.generate(complete(messages=messages, max_tokens=2048, temperature=0.0, top_p=0.0)):
        pass
    turns = tuple(ChatTurn(role, text) for role in ("system", "user", "assistant"))
    assert running.engine.requests == [
        TextRequest("chat_turn_1734567890_abc123", turns, 2048, temperature=0.0, top_p=0.0, model="qwen_instruct")
    ]


@pytest.mark.parametrize("changes", [{"max_tokens": 100}, {"max_tokens": 2048}, {"temperature": 2.0}, {"top_p": 1.0}])
async def test_a_value_on_the_bound_is_taken(start: Start, changes: dict[str, Any]) -> None:
    running = await start(says_hello)
    assert [event async for event in running.generate(complete(**changes))][-1].HasField("callback")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"max_tokens": 99}, "request.max_tokens"),
        ({"max_tokens": 2049}, "request.max_tokens"),
        ({"max_tokens": None}, "request"),
        ({"temperature": -0.01}, "request.temperature"),
        ({"temperature": 2.01}, "request.temperature"),
        ({"temperature": math.nan}, "request.temperature"),
        ({"temperature": None}, "request"),
        ({"top_p": 1.01}, "request.top_p"),
        ({"top_p": math.inf}, "request.top_p"),
        ({"model": None}, "request"),
        ({"model": 99}, "request.model"),
        ({"messages": []}, "request.messages"),
        ({"messages": [chat_pb2.ChatMessage(content="x")]}, "request.messages[0].role"),
        ({"messages": [chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER)]}, "request.messages[0].content"),
    ],
    ids=str,
)
async def test_a_value_that_breaks_a_rule_never_reaches_the_engine(
    start: Start, changes: dict[str, Any], field: str
) -> None:
    running = await start(says_hello)
    error = await error_of(running.generate(complete(**changes)))
    assert isinstance(error, InvalidRequest)
    assert field in [violation.field for violation in error.violations]
    assert running.engine.requests == []


def raising(error: Exception) -> Script:
    async def script(request: TextRequest) -> AsyncGenerator[Delta | Finished, None]:
        yield Delta("Hel", 1)
        raise error

    return script


TOO_LONG = InputTooLong(Violation("request.messages", "at most 10 tokens, got 11"))


@pytest.mark.parametrize(
    ("thrown", "seen"),
    [
        (EngineFailed("the chat model failed"), EngineFailed),
        (TOO_LONG, InputTooLong),
        (RuntimeError(SECRET), EngineFailed),
        (KeyError(SECRET), EngineFailed),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
async def test_what_the_engine_raises_is_a_typed_error_without_its_text(
    start: Start, thrown: Exception, seen: type[Exception]
) -> None:
    running = await start(raising(thrown))
    error = await error_of(running.generate())
    assert type(error) is seen
    assert SECRET not in str(error)
    running.engine.act = says_hello
    assert [event async for event in running.generate()][-1].HasField("callback")


async def test_a_deadline_ends_an_engine_that_hangs(start: Start) -> None:
    running = await start(hangs)
    began = time.monotonic()
    assert isinstance(await error_of(running.generate(timeout=0.5)), DeadlineExceeded)
    async with asyncio.timeout(5):
        await running.engine.idle.wait()
    assert 0.4 < time.monotonic() - began < 4
    assert (await running.status()).free_slots == 2


async def test_cancelling_the_call_reaches_the_engine(start: Start) -> None:
    running = await start(hangs)
    call = running.generate()
    await read_to_first_text(call)
    assert (await running.status()).free_slots == 1
    call.cancel()
    async with asyncio.timeout(5):
        await running.engine.idle.wait()
    assert (await running.status()).free_slots == 2


async def test_a_request_without_slot_waits_and_says_so_and_the_next_is_refused(start: Start) -> None:
    running = await start(hangs)
    occupying = [running.generate() for _ in range(2)]
    for call in occupying:
        await first_event(call)
    waiting = running.generate()
    assert (await first_event(waiting)).progress.phase == job_pb2.PHASE_WAITING
    assert isinstance(await error_of(running.generate()), NoFreeSlot)
    running.engine.act = says_hello
    occupying[0].cancel()
    assert [event async for event in waiting][-1].HasField("callback")
    occupying[1].cancel()


async def test_no_work_is_taken_while_the_engine_is_broken(serve: Serve) -> None:
    heard: list[Callable[[bool], None]] = []

    def load(on_change: Callable[[bool], None]) -> ChatEngine:
        heard.append(on_change)
        return FakeEngine()

    channel = await serve(chat_worker(CONFIG, load), CONFIG)
    running = Running(FakeEngine(), channel)
    await asyncio.to_thread(heard[0], False)
    assert not (await running.status()).accepting
    assert isinstance(await error_of(running.generate()), Draining)
    await asyncio.to_thread(heard[0], True)
    assert (await running.status()).accepting
    assert [event async for event in running.generate()][-1].HasField("callback")


async def test_an_engine_that_recovers_does_not_undo_a_drain(serve: Serve) -> None:
    heard: list[Callable[[bool], None]] = []
    worker = chat_worker(CONFIG, lambda on_change: heard.append(on_change) or FakeEngine())  # type: ignore[func-returns-value]
    channel = await serve(worker, CONFIG)
    worker.drain()
    heard[0](True)
    await asyncio.sleep(0)
    assert isinstance(await error_of(chat_pb2_grpc.ChatServiceStub(channel).Generate(complete())), Draining)


async def test_describe_tells_the_real_models(start: Start) -> None:
    running = await start(says_hello)
    told = (await running.control.Describe(worker_pb2.DescribeRequest())).worker
    assert [(m.name, m.real_name, m.context_tokens) for m in told.models] == [
        ("qwen_instruct", "a-real-name", 2048),
        ("qwen_base", "another-name", 1024),
    ]
    assert (told.worker_id, told.worker_type, told.slots) == ("chat_worker_001", "chat", 2)
    assert (told.device, told.dtype, list(told.job_types)) == ("cuda:0", "bfloat16", ["chat_turn"])
    status = await running.status()
    assert (status.device_memory_used_mb, status.device_memory_total_mb) == (2000, 8000)


async def health(address: str) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return int((await stub.Check(health_pb2.HealthCheckRequest(service="atelier.chat.v1.ChatService"))).status)


async def test_health_is_serving_only_once_the_engine_has_loaded() -> None:
    loaded = threading.Event()
    engine = FakeEngine()

    def load(on_change: Callable[[bool], None]) -> ChatEngine:
        loaded.wait(10)
        return engine

    server = Server(chat_worker(CONFIG, load), CONFIG)
    starting = asyncio.create_task(server.start())
    while not server.address:
        await asyncio.sleep(0.01)
    assert await health(server.address) == health_pb2.HealthCheckResponse.NOT_SERVING
    loaded.set()
    await starting
    assert await health(server.address) == health_pb2.HealthCheckResponse.SERVING
    await server.stop()
    assert engine.closed


async def test_an_engine_that_is_still_loading_at_the_stop_is_closed_too() -> None:
    loaded = threading.Event()
    engine = FakeEngine()

    def load(on_change: Callable[[bool], None]) -> ChatEngine:
        loaded.wait(10)
        return engine

    server = Server(chat_worker(CONFIG, load), CONFIG)
    starting = asyncio.create_task(server.start())
    while not server.address:
        await asyncio.sleep(0.01)
    starting.cancel()
    stopping = asyncio.create_task(server.stop())
    loaded.set()
    async with asyncio.timeout(10):
        await stopping
    assert engine.closed


async def test_a_model_that_cannot_be_used_stops_the_start() -> None:
    def load(on_change: Callable[[bool], None]) -> ChatEngine:
        raise ModelUnusable("/models/chat: no such folder")

    server = Server(chat_worker(CONFIG, load), CONFIG)
    with pytest.raises(ModelUnusable, match="no such folder"):
        await server.start()
    await server.stop()


class Lent:
    """An engine that stays loaded and open when the worker closes."""

    def __init__(self, engine: TransformersEngine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def load(self, config: ModelConfig) -> None: ...

    async def close(self) -> None: ...


async def test_the_real_model_chats_over_grpc(serve: Serve, engine: TransformersEngine) -> None:
    channel = await serve(chat_worker(CONFIG, lambda on_change: cast(ChatEngine, Lent(engine))), CONFIG)
    question = chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, content="What is the capital of France?")
    request = complete(messages=[question], temperature=0.0)
    events = [event async for event in chat_pb2_grpc.ChatServiceStub(channel).Generate(request)]
    asset = events[-1].callback.assets[0]
    assert "".join(event.delta.text for event in events) == asset.content == "The capital of France is Paris."
    assert asset.metadata.model_name == "SmolLM2-135M-Instruct"
    assert asset.metadata.finish_reason == chat_pb2.CHAT_FINISH_REASON_STOP
    assert asset.metadata.tokens_generated < 100


async def test_leaving_a_call_takes_it_out_of_the_real_batch(serve: Serve, engine: TransformersEngine) -> None:
    channel = await serve(chat_worker(CONFIG, lambda on_change: cast(ChatEngine, Lent(engine))), CONFIG)
    call = chat_pb2_grpc.ChatServiceStub(channel).Generate(complete(max_tokens=1900))
    await read_to_first_text(call)
    call.cancel()
    outputs = checkpoint(engine).batch.outputs
    with contextlib.suppress(asyncio.CancelledError):
        await call.code()
    async with asyncio.timeout(10):
        while outputs.receivers:
            await asyncio.sleep(0.01)
