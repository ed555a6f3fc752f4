"""The chat worker's handlers: messages in, one call to the engine, events out."""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import grpc

from atelier.contracts.validation import enum_word
from atelier.pb.chat.v1 import chat_pb2, chat_pb2_grpc
from atelier.pb.job.v1 import job_pb2
from chat_service.config import ChatConfig
from chat_service.engine.interface import ChatTurn, Delta, Finished, ModelName, TextRequest
from shared.worker.app import Kind, Worker
from shared.worker.engine import Engine, Phase, Step
from shared.worker.jobs import Jobs
from shared.worker.models import MakeEngine
from shared.worker.progress import Meter

log = logging.getLogger(__name__)

ChatEngine = Engine[TextRequest, Delta | Finished]

KIND = Kind(worker_type="chat", service="atelier.chat.v1.ChatService", job_types=("chat_turn",))
FINISH_REASONS = {"stop": chat_pb2.CHAT_FINISH_REASON_STOP, "length": chat_pb2.CHAT_FINISH_REASON_LENGTH}


class ChatServicer(chat_pb2_grpc.ChatServiceServicer):
    """Executes chat requests exactly as they are given."""

    def __init__(self, worker_id: str, jobs: Jobs[TextRequest, Delta | Finished]) -> None:
        self._worker_id, self._jobs = worker_id, jobs

    async def Generate(
        self, request: chat_pb2.GenerateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[chat_pb2.GenerateResponse]:
        meter, wanted, pieces = Meter(), text_request(request), list[str]()
        first = Step(Phase.GENERATING, 0, request.request.max_tokens)
        async with aclosing(self._jobs.execute(wanted, wanted.model, meter, {}, first)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    pieces.append(event.text)
                    yield chat_pb2.GenerateResponse(delta=chat_pb2.ChatDelta(text=event.text, tokens=event.tokens))
                elif isinstance(event, Finished):
                    yield chat_pb2.GenerateResponse(callback=self._callback(request, "".join(pieces), event, meter))
                else:
                    yield chat_pb2.GenerateResponse(progress=event)

    def _callback(
        self, request: chat_pb2.GenerateRequest, text: str, end: Finished, meter: Meter
    ) -> chat_pb2.ChatCallback:
        chat = request.request
        real_names = {model.name: model.real_name for model in self._jobs.models.loaded}
        seconds = round(meter.elapsed, 3)
        log.info("job completed", extra={"job_id": request.job_id, "seconds": seconds, "tokens": end.tokens_generated})
        return chat_pb2.ChatCallback(
            job_id=request.job_id,
            worker_id=self._worker_id,
            status=job_pb2.JOB_STATUS_COMPLETED,
            assets=[_asset(text, end, chat.model, real_names[_model_name(chat)])],
            metadata=chat_pb2.ChatCallbackMetadata(
                enhancement_type=chat_pb2.CHAT_ENHANCEMENT_TYPE_NONE,
                sfw_mode=chat.sfw_mode,
                system_prompt_used="\n".join(m.content for m in chat.messages if m.role == chat_pb2.CHAT_ROLE_SYSTEM),
                processing_time=meter.elapsed,
                vram_used=end.vram_used,
            ),
        )


def text_request(request: chat_pb2.GenerateRequest) -> TextRequest:
    """What the engine is asked, word for word what the message says."""
    chat = request.request
    turns = tuple(ChatTurn(enum_word("ChatRole", chat_pb2.ChatRole.Name(m.role)), m.content) for m in chat.messages)
    return TextRequest(request.job_id, turns, chat.max_tokens, chat.temperature, chat.top_p, _model_name(chat))


def _model_name(chat: chat_pb2.ChatRequest) -> ModelName:
    return cast(ModelName, enum_word("ChatModel", chat_pb2.ChatModel.Name(chat.model)))


def _asset(text: str, end: Finished, model: chat_pb2.ChatModel, real_name: str) -> chat_pb2.ChatAsset:
    metadata = chat_pb2.ChatAssetMetadata(
        tokens_generated=end.tokens_generated,
        model_used=model,
        generation_time=end.seconds_generating,
        model_name=real_name,
        finish_reason=FINISH_REASONS[end.reason],
        prompt_tokens=end.prompt_tokens,
    )
    return chat_pb2.ChatAsset(type=job_pb2.ASSET_TYPE_TEXT, content=text, metadata=metadata)


def chat_worker(config: ChatConfig, make_engine: MakeEngine[ChatEngine]) -> Worker[TextRequest, Delta | Finished]:
    """The chat worker, put together. For `make_engine` see Models."""

    def add_servicer(jobs: Jobs[TextRequest, Delta | Finished], server: grpc.aio.Server) -> None:
        chat_pb2_grpc.add_ChatServiceServicer_to_server(ChatServicer(config.worker_id, jobs), server)

    return Worker(config, KIND, config.models, make_engine, add_servicer)
