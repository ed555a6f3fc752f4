from atelier.pb.job.v1 import job_pb2 as _job_pb2
from atelier.pb.buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChatModel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHAT_MODEL_UNSPECIFIED: _ClassVar[ChatModel]
    CHAT_MODEL_QWEN_INSTRUCT: _ClassVar[ChatModel]
    CHAT_MODEL_QWEN_BASE: _ClassVar[ChatModel]

class ChatRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHAT_ROLE_UNSPECIFIED: _ClassVar[ChatRole]
    CHAT_ROLE_SYSTEM: _ClassVar[ChatRole]
    CHAT_ROLE_USER: _ClassVar[ChatRole]
    CHAT_ROLE_ASSISTANT: _ClassVar[ChatRole]

class ChatEnhancementType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHAT_ENHANCEMENT_TYPE_UNSPECIFIED: _ClassVar[ChatEnhancementType]
    CHAT_ENHANCEMENT_TYPE_NONE: _ClassVar[ChatEnhancementType]
    CHAT_ENHANCEMENT_TYPE_BASE: _ClassVar[ChatEnhancementType]
    CHAT_ENHANCEMENT_TYPE_INSTRUCT: _ClassVar[ChatEnhancementType]

class ChatFinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHAT_FINISH_REASON_UNSPECIFIED: _ClassVar[ChatFinishReason]
    CHAT_FINISH_REASON_STOP: _ClassVar[ChatFinishReason]
    CHAT_FINISH_REASON_LENGTH: _ClassVar[ChatFinishReason]
CHAT_MODEL_UNSPECIFIED: ChatModel
CHAT_MODEL_QWEN_INSTRUCT: ChatModel
CHAT_MODEL_QWEN_BASE: ChatModel
CHAT_ROLE_UNSPECIFIED: ChatRole
CHAT_ROLE_SYSTEM: ChatRole
CHAT_ROLE_USER: ChatRole
CHAT_ROLE_ASSISTANT: ChatRole
CHAT_ENHANCEMENT_TYPE_UNSPECIFIED: ChatEnhancementType
CHAT_ENHANCEMENT_TYPE_NONE: ChatEnhancementType
CHAT_ENHANCEMENT_TYPE_BASE: ChatEnhancementType
CHAT_ENHANCEMENT_TYPE_INSTRUCT: ChatEnhancementType
CHAT_FINISH_REASON_UNSPECIFIED: ChatFinishReason
CHAT_FINISH_REASON_STOP: ChatFinishReason
CHAT_FINISH_REASON_LENGTH: ChatFinishReason

class GenerateRequest(_message.Message):
    __slots__ = ("job_id", "user_id", "request", "attempt")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    user_id: str
    request: ChatRequest
    attempt: int
    def __init__(self, job_id: _Optional[str] = ..., user_id: _Optional[str] = ..., request: _Optional[_Union[ChatRequest, _Mapping]] = ..., attempt: _Optional[int] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("progress", "delta", "callback")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_FIELD_NUMBER: _ClassVar[int]
    progress: _job_pb2.Progress
    delta: ChatDelta
    callback: ChatCallback
    def __init__(self, progress: _Optional[_Union[_job_pb2.Progress, _Mapping]] = ..., delta: _Optional[_Union[ChatDelta, _Mapping]] = ..., callback: _Optional[_Union[ChatCallback, _Mapping]] = ...) -> None: ...

class ChatDelta(_message.Message):
    __slots__ = ("text", "tokens")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    text: str
    tokens: int
    def __init__(self, text: _Optional[str] = ..., tokens: _Optional[int] = ...) -> None: ...

class ChatRequest(_message.Message):
    __slots__ = ("messages", "max_tokens", "temperature", "top_p", "model", "sfw_mode")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SFW_MODE_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[ChatMessage]
    max_tokens: int
    temperature: float
    top_p: float
    model: ChatModel
    sfw_mode: bool
    def __init__(self, messages: _Optional[_Iterable[_Union[ChatMessage, _Mapping]]] = ..., max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., model: _Optional[_Union[ChatModel, str]] = ..., sfw_mode: _Optional[bool] = ...) -> None: ...

class ChatMessage(_message.Message):
    __slots__ = ("role", "content")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    role: ChatRole
    content: str
    def __init__(self, role: _Optional[_Union[ChatRole, str]] = ..., content: _Optional[str] = ...) -> None: ...

class ChatCallback(_message.Message):
    __slots__ = ("job_id", "worker_id", "status", "assets", "metadata", "error")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ASSETS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    worker_id: str
    status: _job_pb2.JobStatus
    assets: _containers.RepeatedCompositeFieldContainer[ChatAsset]
    metadata: ChatCallbackMetadata
    error: _job_pb2.JobError
    def __init__(self, job_id: _Optional[str] = ..., worker_id: _Optional[str] = ..., status: _Optional[_Union[_job_pb2.JobStatus, str]] = ..., assets: _Optional[_Iterable[_Union[ChatAsset, _Mapping]]] = ..., metadata: _Optional[_Union[ChatCallbackMetadata, _Mapping]] = ..., error: _Optional[_Union[_job_pb2.JobError, _Mapping]] = ...) -> None: ...

class ChatAsset(_message.Message):
    __slots__ = ("type", "content", "metadata")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    type: _job_pb2.AssetType
    content: str
    metadata: ChatAssetMetadata
    def __init__(self, type: _Optional[_Union[_job_pb2.AssetType, str]] = ..., content: _Optional[str] = ..., metadata: _Optional[_Union[ChatAssetMetadata, _Mapping]] = ...) -> None: ...

class ChatAssetMetadata(_message.Message):
    __slots__ = ("tokens_generated", "model_used", "generation_time", "model_name", "finish_reason", "prompt_tokens")
    TOKENS_GENERATED_FIELD_NUMBER: _ClassVar[int]
    MODEL_USED_FIELD_NUMBER: _ClassVar[int]
    GENERATION_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens_generated: int
    model_used: ChatModel
    generation_time: float
    model_name: str
    finish_reason: ChatFinishReason
    prompt_tokens: int
    def __init__(self, tokens_generated: _Optional[int] = ..., model_used: _Optional[_Union[ChatModel, str]] = ..., generation_time: _Optional[float] = ..., model_name: _Optional[str] = ..., finish_reason: _Optional[_Union[ChatFinishReason, str]] = ..., prompt_tokens: _Optional[int] = ...) -> None: ...

class ChatCallbackMetadata(_message.Message):
    __slots__ = ("enhancement_type", "sfw_mode", "system_prompt_used", "processing_time", "vram_used")
    ENHANCEMENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SFW_MODE_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_PROMPT_USED_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_TIME_FIELD_NUMBER: _ClassVar[int]
    VRAM_USED_FIELD_NUMBER: _ClassVar[int]
    enhancement_type: ChatEnhancementType
    sfw_mode: bool
    system_prompt_used: str
    processing_time: float
    vram_used: int
    def __init__(self, enhancement_type: _Optional[_Union[ChatEnhancementType, str]] = ..., sfw_mode: _Optional[bool] = ..., system_prompt_used: _Optional[str] = ..., processing_time: _Optional[float] = ..., vram_used: _Optional[int] = ...) -> None: ...
