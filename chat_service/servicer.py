"""The chat worker's handlers: messages in, one call to the engine, events out."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, cast

import grpc

from atelier.contracts.validation import enum_word
from atelier.pb.chat.v1 import chat_pb2, chat_pb2_grpc
from atelier.pb.job.v1 import job_pb2
from atelier.pb.worker.v1 import worker_pb2_grpc
from chat_service.config import ChatConfig
from chat_service.seam import ChatTurn, Delta, Engine, Finished, LoadedModel, ModelName, TextRequest
from shared.interceptors import Guard
from shared.progress import Meter
from shared.slots import Slots
from shared.tokens import TokenCount
from shared.worker_configs import Model, WorkerConfig
from shared.worker_service import WorkerServicer

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
# Loads an engine, which blocks; the argument hears from other threads whether the engine can work.
EngineLoader = Callable[[Callable[[bool], None]], Engine]

FINISH_REASONS = {"stop": chat_pb2.CHAT_FINISH_REASON_STOP, "length": chat_pb2.CHAT_FINISH_REASON_LENGTH}


class ChatServicer(chat_pb2_grpc.ChatServiceServicer):
    """Executes chat requests. `engine` is set once it has loaded; no slot is given before."""

    def __init__(self, worker_id: str, slots: Slots) -> None:
        self.engine: Engine | None = None
        self._worker_id, self._slots = worker_id, slots

    async def Generate(
        self, request: chat_pb2.GenerateRequest, context: Context
    ) -> AsyncIterator[chat_pb2.GenerateResponse]:
        meter = Meter()
        if self._slots.busy:
            yield _progress(meter, job_pb2.PHASE_WAITING, 0)
        async with self._slots.hold():
            yield _progress(meter, job_pb2.PHASE_GENERATING, request.request.max_tokens)
            async with aclosing(self._events(request, meter)) as events:
                async for event in events:
                    yield event

    async def _events(
        self, request: chat_pb2.GenerateRequest, meter: Meter
    ) -> AsyncGenerator[chat_pb2.GenerateResponse, None]:
        assert self.engine
        pieces: list[str] = []
        async with aclosing(self.engine.generate(text_request(request))) as made:
            async for event in made:
                if isinstance(event, Delta):
                    pieces.append(event.text)
                    yield chat_pb2.GenerateResponse(delta=chat_pb2.ChatDelta(text=event.text, tokens=event.tokens))
                else:
                    yield chat_pb2.GenerateResponse(callback=self._callback(request, "".join(pieces), event, meter))

    def _callback(
        self, request: chat_pb2.GenerateRequest, text: str, end: Finished, meter: Meter
    ) -> chat_pb2.ChatCallback:
        assert self.engine
        chat = request.request
        loaded = {model.name: model for model in self.engine.models}
        seconds = round(meter.elapsed, 3)
        log.info("job completed", extra={"job_id": request.job_id, "seconds": seconds, "tokens": end.tokens_generated})
        return chat_pb2.ChatCallback(
            job_id=request.job_id,
            worker_id=self._worker_id,
            status=job_pb2.JOB_STATUS_COMPLETED,
            assets=[_asset(text, end, chat.model, loaded[_model_name(chat)])],
            metadata=chat_pb2.ChatCallbackMetadata(
                enhancement_type=chat_pb2.CHAT_ENHANCEMENT_TYPE_NONE,
                sfw_mode=chat.sfw_mode,
                system_prompt_used="\n".join(m.content for m in chat.messages if m.role == chat_pb2.CHAT_ROLE_SYSTEM),
                processing_time=meter.elapsed,
                vram_used=self.engine.vram_used_mb(),
            ),
        )


class ChatWorker:
    """The chat worker as `shared.server` runs it."""

    names: Sequence[str] = ("atelier.chat.v1.ChatService", "atelier.worker.v1.WorkerService")

    def __init__(self, config: ChatConfig, load_engine: EngineLoader) -> None:
        self.guard: Guard | None = secret.guard if (secret := config.worker_secret) else None
        self._config, self._load_engine = config, load_engine
        self._slots = Slots(config.slots, config.waiting)
        self._chat = ChatServicer(config.worker_id, self._slots)
        self._worker = WorkerServicer(self._slots, self._device_memory, self._count_tokens)
        self._loading: asyncio.Task[Engine] | None = None

    def register(self, server: grpc.aio.Server) -> None:
        chat_pb2_grpc.add_ChatServiceServicer_to_server(self._chat, server)
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(self._worker, server)

    async def load(self) -> None:
        """Loads the engine, then takes work. Raises ModelUnusable."""
        loop = asyncio.get_running_loop()

        def on_change(ready: bool) -> None:
            loop.call_soon_threadsafe(self._engine_changed, ready)

        self._loading = asyncio.create_task(asyncio.to_thread(self._load_engine, on_change))
        # Shielded, because a thread cannot be stopped: `close` waits for it to free what it loaded.
        self._chat.engine = await asyncio.shield(self._loading)
        self._worker.config = self._describe(self._chat.engine)
        self._slots.accept()

    def _engine_changed(self, ready: bool) -> None:
        if not ready:
            self._slots.accepting = False
        elif not self._slots.draining:
            self._slots.accept()

    def _describe(self, engine: Engine) -> WorkerConfig:
        models = tuple(Model(m.name, m.real_name, context_tokens=m.context_tokens) for m in engine.models)
        return WorkerConfig(
            self._config.worker_id, "chat", ("chat_turn",), models, self._slots.total, engine.device, engine.dtype
        )

    def _device_memory(self) -> tuple[int, int]:
        return self._chat.engine.device_memory_mb() if self._chat.engine else (0, 0)

    def _count_tokens(self, model: str, texts: Sequence[str]) -> Sequence[TokenCount]:
        assert self._chat.engine, "the worker says that it has loaded"
        return self._chat.engine.count_tokens(cast(ModelName, model), texts)

    def drain(self) -> None:
        self._slots.drain()

    async def close(self) -> None:
        self._worker.close()
        if self._loading:
            await asyncio.wait({self._loading})
            if not self._loading.exception():
                await asyncio.to_thread(self._loading.result().close)


def text_request(request: chat_pb2.GenerateRequest) -> TextRequest:
    """What the engine is asked, word for word what the message says."""
    chat = request.request
    turns = tuple(ChatTurn(enum_word("ChatRole", chat_pb2.ChatRole.Name(m.role)), m.content) for m in chat.messages)
    return TextRequest(request.job_id, turns, chat.max_tokens, chat.temperature, chat.top_p, _model_name(chat))


def _model_name(chat: chat_pb2.ChatRequest) -> ModelName:
    return cast(ModelName, enum_word("ChatModel", chat_pb2.ChatModel.Name(chat.model)))


def _progress(meter: Meter, phase: job_pb2.Phase, total: int) -> chat_pb2.GenerateResponse:
    return chat_pb2.GenerateResponse(progress=meter.progress(phase, 0, total))


def _asset(text: str, end: Finished, model: chat_pb2.ChatModel, loaded: LoadedModel) -> chat_pb2.ChatAsset:
    metadata = chat_pb2.ChatAssetMetadata(
        tokens_generated=end.tokens_generated,
        model_used=model,
        generation_time=end.seconds_generating,
        model_name=loaded.real_name,
        finish_reason=FINISH_REASONS[end.reason],
        prompt_tokens=end.prompt_tokens,
    )
    return chat_pb2.ChatAsset(type=job_pb2.ASSET_TYPE_TEXT, content=text, metadata=metadata)
