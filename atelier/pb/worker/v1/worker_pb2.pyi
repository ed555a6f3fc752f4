from atelier.pb.buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("worker",)
    WORKER_FIELD_NUMBER: _ClassVar[int]
    worker: WorkerDescription
    def __init__(self, worker: _Optional[_Union[WorkerDescription, _Mapping]] = ...) -> None: ...

class WatchStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchStatusResponse(_message.Message):
    __slots__ = ("slots", "free_slots", "waiting", "accepting", "loaded_models", "device_memory_used_mb", "device_memory_total_mb")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    FREE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    ACCEPTING_FIELD_NUMBER: _ClassVar[int]
    LOADED_MODELS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_MEMORY_USED_MB_FIELD_NUMBER: _ClassVar[int]
    DEVICE_MEMORY_TOTAL_MB_FIELD_NUMBER: _ClassVar[int]
    slots: int
    free_slots: int
    waiting: int
    accepting: bool
    loaded_models: _containers.RepeatedScalarFieldContainer[str]
    device_memory_used_mb: int
    device_memory_total_mb: int
    def __init__(self, slots: _Optional[int] = ..., free_slots: _Optional[int] = ..., waiting: _Optional[int] = ..., accepting: _Optional[bool] = ..., loaded_models: _Optional[_Iterable[str]] = ..., device_memory_used_mb: _Optional[int] = ..., device_memory_total_mb: _Optional[int] = ...) -> None: ...

class LoadModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class LoadModelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnloadModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UnloadModelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CountTokensRequest(_message.Message):
    __slots__ = ("model", "texts")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class CountTokensResponse(_message.Message):
    __slots__ = ("counts",)
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedCompositeFieldContainer[TokenCount]
    def __init__(self, counts: _Optional[_Iterable[_Union[TokenCount, _Mapping]]] = ...) -> None: ...

class TokenCount(_message.Message):
    __slots__ = ("tokenizer", "tokens", "limit", "tokens_per_message", "read_characters")
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    READ_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    tokenizer: str
    tokens: _containers.RepeatedScalarFieldContainer[int]
    limit: int
    tokens_per_message: int
    read_characters: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tokenizer: _Optional[str] = ..., tokens: _Optional[_Iterable[int]] = ..., limit: _Optional[int] = ..., tokens_per_message: _Optional[int] = ..., read_characters: _Optional[_Iterable[int]] = ...) -> None: ...

class WorkerDescription(_message.Message):
    __slots__ = ("worker_id", "worker_type", "job_types", "models", "slots", "device", "dtype", "version")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_TYPE_FIELD_NUMBER: _ClassVar[int]
    JOB_TYPES_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    worker_type: str
    job_types: _containers.RepeatedScalarFieldContainer[str]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    slots: int
    device: str
    dtype: str
    version: str
    def __init__(self, worker_id: _Optional[str] = ..., worker_type: _Optional[str] = ..., job_types: _Optional[_Iterable[str]] = ..., models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., slots: _Optional[int] = ..., device: _Optional[str] = ..., dtype: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "real_name", "capabilities", "size_multiple", "min_side", "max_pixels", "context_tokens")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REAL_NAME_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    SIZE_MULTIPLE_FIELD_NUMBER: _ClassVar[int]
    MIN_SIDE_FIELD_NUMBER: _ClassVar[int]
    MAX_PIXELS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    name: str
    real_name: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    size_multiple: int
    min_side: int
    max_pixels: int
    context_tokens: int
    def __init__(self, name: _Optional[str] = ..., real_name: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., size_multiple: _Optional[int] = ..., min_side: _Optional[int] = ..., max_pixels: _Optional[int] = ..., context_tokens: _Optional[int] = ...) -> None: ...
