from atelier.pb.buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATUS_UNSPECIFIED: _ClassVar[JobStatus]
    JOB_STATUS_COMPLETED: _ClassVar[JobStatus]
    JOB_STATUS_FAILED: _ClassVar[JobStatus]
    JOB_STATUS_PROCESSING: _ClassVar[JobStatus]
    JOB_STATUS_QUEUED: _ClassVar[JobStatus]
    JOB_STATUS_LEASED: _ClassVar[JobStatus]
    JOB_STATUS_CANCELLED: _ClassVar[JobStatus]
    JOB_STATUS_EXPIRED: _ClassVar[JobStatus]

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    PHASE_WAITING: _ClassVar[Phase]
    PHASE_ENCODING: _ClassVar[Phase]
    PHASE_DENOISING: _ClassVar[Phase]
    PHASE_DECODING: _ClassVar[Phase]
    PHASE_STORING: _ClassVar[Phase]
    PHASE_GENERATING: _ClassVar[Phase]

class AssetType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ASSET_TYPE_UNSPECIFIED: _ClassVar[AssetType]
    ASSET_TYPE_IMAGE: _ClassVar[AssetType]
    ASSET_TYPE_VIDEO: _ClassVar[AssetType]
    ASSET_TYPE_TEXT: _ClassVar[AssetType]

class EnhancementSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENHANCEMENT_SOURCE_UNSPECIFIED: _ClassVar[EnhancementSource]
    ENHANCEMENT_SOURCE_NONE: _ClassVar[EnhancementSource]
    ENHANCEMENT_SOURCE_QWEN_INSTRUCT: _ClassVar[EnhancementSource]
    ENHANCEMENT_SOURCE_QWEN_BASE: _ClassVar[EnhancementSource]

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_REQUEST: _ClassVar[ErrorReason]
    ERROR_REASON_MALFORMED_MESSAGE: _ClassVar[ErrorReason]
    ERROR_REASON_INPUT_TOO_LONG: _ClassVar[ErrorReason]
    ERROR_REASON_UNAUTHENTICATED: _ClassVar[ErrorReason]
    ERROR_REASON_PERMISSION_DENIED: _ClassVar[ErrorReason]
    ERROR_REASON_JOB_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_ASSET_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_CAPABILITY_MISSING: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_IMPLEMENTED: _ClassVar[ErrorReason]
    ERROR_REASON_NO_FREE_SLOT: _ClassVar[ErrorReason]
    ERROR_REASON_OUT_OF_MEMORY: _ClassVar[ErrorReason]
    ERROR_REASON_MESSAGE_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_NO_WORKER: _ClassVar[ErrorReason]
    ERROR_REASON_WORKER_LOST: _ClassVar[ErrorReason]
    ERROR_REASON_DRAINING: _ClassVar[ErrorReason]
    ERROR_REASON_STORAGE_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_DATABASE_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_CANCELLED: _ClassVar[ErrorReason]
    ERROR_REASON_ENGINE_FAILED: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
    ERROR_REASON_IDEMPOTENCY_CONFLICT: _ClassVar[ErrorReason]
    ERROR_REASON_QUEUE_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_EDGE_LOST: _ClassVar[ErrorReason]
    ERROR_REASON_JOB_NOT_ENDED: _ClassVar[ErrorReason]
    ERROR_REASON_QUOTA_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_CONTENT_FORBIDDEN: _ClassVar[ErrorReason]
    ERROR_REASON_CONTENT_NOT_ALLOWED: _ClassVar[ErrorReason]
    ERROR_REASON_REFERENCE_UNUSABLE: _ClassVar[ErrorReason]
    ERROR_REASON_KEY_NOT_FOUND: _ClassVar[ErrorReason]
JOB_STATUS_UNSPECIFIED: JobStatus
JOB_STATUS_COMPLETED: JobStatus
JOB_STATUS_FAILED: JobStatus
JOB_STATUS_PROCESSING: JobStatus
JOB_STATUS_QUEUED: JobStatus
JOB_STATUS_LEASED: JobStatus
JOB_STATUS_CANCELLED: JobStatus
JOB_STATUS_EXPIRED: JobStatus
PHASE_UNSPECIFIED: Phase
PHASE_WAITING: Phase
PHASE_ENCODING: Phase
PHASE_DENOISING: Phase
PHASE_DECODING: Phase
PHASE_STORING: Phase
PHASE_GENERATING: Phase
ASSET_TYPE_UNSPECIFIED: AssetType
ASSET_TYPE_IMAGE: AssetType
ASSET_TYPE_VIDEO: AssetType
ASSET_TYPE_TEXT: AssetType
ENHANCEMENT_SOURCE_UNSPECIFIED: EnhancementSource
ENHANCEMENT_SOURCE_NONE: EnhancementSource
ENHANCEMENT_SOURCE_QWEN_INSTRUCT: EnhancementSource
ENHANCEMENT_SOURCE_QWEN_BASE: EnhancementSource
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_REQUEST: ErrorReason
ERROR_REASON_MALFORMED_MESSAGE: ErrorReason
ERROR_REASON_INPUT_TOO_LONG: ErrorReason
ERROR_REASON_UNAUTHENTICATED: ErrorReason
ERROR_REASON_PERMISSION_DENIED: ErrorReason
ERROR_REASON_JOB_NOT_FOUND: ErrorReason
ERROR_REASON_ASSET_NOT_FOUND: ErrorReason
ERROR_REASON_CAPABILITY_MISSING: ErrorReason
ERROR_REASON_NOT_IMPLEMENTED: ErrorReason
ERROR_REASON_NO_FREE_SLOT: ErrorReason
ERROR_REASON_OUT_OF_MEMORY: ErrorReason
ERROR_REASON_MESSAGE_TOO_LARGE: ErrorReason
ERROR_REASON_NO_WORKER: ErrorReason
ERROR_REASON_WORKER_LOST: ErrorReason
ERROR_REASON_DRAINING: ErrorReason
ERROR_REASON_STORAGE_UNAVAILABLE: ErrorReason
ERROR_REASON_DATABASE_UNAVAILABLE: ErrorReason
ERROR_REASON_DEADLINE_EXCEEDED: ErrorReason
ERROR_REASON_CANCELLED: ErrorReason
ERROR_REASON_ENGINE_FAILED: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_IDEMPOTENCY_CONFLICT: ErrorReason
ERROR_REASON_QUEUE_FULL: ErrorReason
ERROR_REASON_EDGE_LOST: ErrorReason
ERROR_REASON_JOB_NOT_ENDED: ErrorReason
ERROR_REASON_QUOTA_EXCEEDED: ErrorReason
ERROR_REASON_CONTENT_FORBIDDEN: ErrorReason
ERROR_REASON_CONTENT_NOT_ALLOWED: ErrorReason
ERROR_REASON_REFERENCE_UNUSABLE: ErrorReason
ERROR_REASON_KEY_NOT_FOUND: ErrorReason

class Progress(_message.Message):
    __slots__ = ("phase", "step", "total_steps", "elapsed_seconds", "remaining_seconds")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    phase: Phase
    step: int
    total_steps: int
    elapsed_seconds: float
    remaining_seconds: float
    def __init__(self, phase: _Optional[_Union[Phase, str]] = ..., step: _Optional[int] = ..., total_steps: _Optional[int] = ..., elapsed_seconds: _Optional[float] = ..., remaining_seconds: _Optional[float] = ...) -> None: ...

class Preview(_message.Message):
    __slots__ = ("key", "mime_type", "index", "step")
    KEY_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    key: str
    mime_type: str
    index: int
    step: int
    def __init__(self, key: _Optional[str] = ..., mime_type: _Optional[str] = ..., index: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class Reference(_message.Message):
    __slots__ = ("key", "sha256", "width", "height")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    key: str
    sha256: str
    width: int
    height: int
    def __init__(self, key: _Optional[str] = ..., sha256: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class JobError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: ErrorReason
    message: str
    def __init__(self, reason: _Optional[_Union[ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...
