"""Chat: a conversation, answered by a language model."""

import math
from typing import Any

from atelier.contracts.validation import enum_word
from atelier.pb.chat.v1 import chat_pb2, chat_pb2_grpc
from edge_service.domain.kinds.kind import Kind, Workload

CHAT_TURN = "chat_turn"
CHARACTERS_PER_TOKEN = 4
# A prompt is read at once, an answer is written token by token.
READ_PER_WRITTEN = 20


class ChatKind(Kind[chat_pb2.ChatRequest, chat_pb2.ChatCallback]):
    """See `Kind`."""

    worker_type = "chat"
    job_class, callback_class = chat_pb2.ChatRequest, chat_pb2.ChatCallback
    stub_class = chat_pb2_grpc.ChatServiceStub
    type_names = (CHAT_TURN,)
    has_prompt = False

    def type_name(self, job: chat_pb2.ChatRequest) -> str:
        return CHAT_TURN

    def request(self, job: chat_pb2.ChatRequest, job_id: str, owner: str, attempt: int = 0) -> chat_pb2.GenerateRequest:
        return chat_pb2.GenerateRequest(job_id=job_id, user_id=owner, request=job, attempt=attempt)

    def sample(self) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": "check"}]}

    def finish(self, job: chat_pb2.ChatRequest, callback: chat_pb2.ChatCallback, is_enhanced_type: bool) -> None:
        callback.metadata.enhancement_type = chat_pb2.CHAT_ENHANCEMENT_TYPE_NONE

    def needs(self, job: chat_pb2.ChatRequest) -> list[str]:
        return [_model(job)]

    def workload(self, job: chat_pb2.ChatRequest) -> Workload:
        read = sum(len(message.content) for message in job.messages) / CHARACTERS_PER_TOKEN
        name = f"{CHAT_TURN} {_model(job)} reads {_bucket(read)} writes {_bucket(job.max_tokens)}"
        return Workload(name, job.max_tokens + read / READ_PER_WRITTEN)


def _model(job: chat_pb2.ChatRequest) -> str:
    return enum_word("ChatModel", chat_pb2.ChatModel.Name(job.model))


def _bucket(tokens: float) -> int:
    """The power of two at or above a number of tokens, 64 at least."""
    return 1 << max(6, math.ceil(math.log2(max(tokens, 1))))
