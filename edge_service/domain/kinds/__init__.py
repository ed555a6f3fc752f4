"""What differs between kinds of work: one file each, and this register. No other room tests which kind a message is.

kind_of(job).needs(job)          the kind of a job or callback message
KINDS["sdxl"].job_class          the kind of a worker type
"""

from typing import Any, Literal

from google.protobuf.message import Message

from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from edge_service.domain.kinds.chat import CHAT_TURN, ChatKind
from edge_service.domain.kinds.kind import Kind, Size, WantedReference, Workload
from edge_service.domain.kinds.sdxl import SdxlKind
from edge_service.domain.kinds.wan import WanKind

__all__ = [
    "CHAT_TURN",
    "KINDS",
    "Callback",
    "Kind",
    "Size",
    "UnknownKind",
    "WantedReference",
    "WorkerJob",
    "WorkerType",
    "Workload",
    "kind_of",
]

WorkerType = Literal["sdxl", "wan", "chat"]
WorkerJob = sdxl_pb2.SdxlJob | wan_pb2.WanJob | chat_pb2.ChatRequest
Callback = sdxl_pb2.SdxlCallback | wan_pb2.WanCallback | chat_pb2.ChatCallback

KINDS: dict[str, Kind[Any, Any]] = {kind.worker_type: kind for kind in (SdxlKind(), WanKind(), ChatKind())}


class UnknownKind(TypeError):
    """A message is of no kind of work that this edge knows."""


def kind_of(message: Message) -> Kind[Any, Any]:
    """The kind of a job or callback message. Raises UnknownKind."""
    for kind in KINDS.values():
        if type(message) in (kind.job_class, kind.callback_class):
            return kind
    raise UnknownKind(f"{message.DESCRIPTOR.full_name} is no job or callback of {', '.join(KINDS)}")
