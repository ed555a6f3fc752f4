from atelier.pb.job.v1 import job_pb2 as _job_pb2
from atelier.pb.buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WanJobType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WAN_JOB_TYPE_UNSPECIFIED: _ClassVar[WanJobType]
    WAN_JOB_TYPE_IMAGE_FAST: _ClassVar[WanJobType]
    WAN_JOB_TYPE_IMAGE_HIGH: _ClassVar[WanJobType]
    WAN_JOB_TYPE_VIDEO_FAST: _ClassVar[WanJobType]
    WAN_JOB_TYPE_VIDEO_HIGH: _ClassVar[WanJobType]
    WAN_JOB_TYPE_IMAGE7B_FAST_ENHANCED: _ClassVar[WanJobType]
    WAN_JOB_TYPE_IMAGE7B_HIGH_ENHANCED: _ClassVar[WanJobType]
    WAN_JOB_TYPE_VIDEO7B_FAST_ENHANCED: _ClassVar[WanJobType]
    WAN_JOB_TYPE_VIDEO7B_HIGH_ENHANCED: _ClassVar[WanJobType]

class WanReferenceMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WAN_REFERENCE_MODE_UNSPECIFIED: _ClassVar[WanReferenceMode]
    WAN_REFERENCE_MODE_NONE: _ClassVar[WanReferenceMode]
    WAN_REFERENCE_MODE_SINGLE: _ClassVar[WanReferenceMode]
    WAN_REFERENCE_MODE_START: _ClassVar[WanReferenceMode]
    WAN_REFERENCE_MODE_END: _ClassVar[WanReferenceMode]
    WAN_REFERENCE_MODE_BOTH: _ClassVar[WanReferenceMode]
WAN_JOB_TYPE_UNSPECIFIED: WanJobType
WAN_JOB_TYPE_IMAGE_FAST: WanJobType
WAN_JOB_TYPE_IMAGE_HIGH: WanJobType
WAN_JOB_TYPE_VIDEO_FAST: WanJobType
WAN_JOB_TYPE_VIDEO_HIGH: WanJobType
WAN_JOB_TYPE_IMAGE7B_FAST_ENHANCED: WanJobType
WAN_JOB_TYPE_IMAGE7B_HIGH_ENHANCED: WanJobType
WAN_JOB_TYPE_VIDEO7B_FAST_ENHANCED: WanJobType
WAN_JOB_TYPE_VIDEO7B_HIGH_ENHANCED: WanJobType
WAN_REFERENCE_MODE_UNSPECIFIED: WanReferenceMode
WAN_REFERENCE_MODE_NONE: WanReferenceMode
WAN_REFERENCE_MODE_SINGLE: WanReferenceMode
WAN_REFERENCE_MODE_START: WanReferenceMode
WAN_REFERENCE_MODE_END: WanReferenceMode
WAN_REFERENCE_MODE_BOTH: WanReferenceMode

class GenerateRequest(_message.Message):
    __slots__ = ("job", "attempt")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    job: WanJob
    attempt: int
    def __init__(self, job: _Optional[_Union[WanJob, _Mapping]] = ..., attempt: _Optional[int] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("progress", "preview", "callback")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_FIELD_NUMBER: _ClassVar[int]
    progress: _job_pb2.Progress
    preview: _job_pb2.Preview
    callback: WanCallback
    def __init__(self, progress: _Optional[_Union[_job_pb2.Progress, _Mapping]] = ..., preview: _Optional[_Union[_job_pb2.Preview, _Mapping]] = ..., callback: _Optional[_Union[WanCallback, _Mapping]] = ...) -> None: ...

class WanJob(_message.Message):
    __slots__ = ("id", "type", "prompt", "user_id", "config", "metadata", "sampling", "references", "enhancement_source")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    ENHANCEMENT_SOURCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: WanJobType
    prompt: str
    user_id: str
    config: WanConfig
    metadata: WanMetadata
    sampling: WanSampling
    references: WanReferences
    enhancement_source: _job_pb2.EnhancementSource
    def __init__(self, id: _Optional[str] = ..., type: _Optional[_Union[WanJobType, str]] = ..., prompt: _Optional[str] = ..., user_id: _Optional[str] = ..., config: _Optional[_Union[WanConfig, _Mapping]] = ..., metadata: _Optional[_Union[WanMetadata, _Mapping]] = ..., sampling: _Optional[_Union[WanSampling, _Mapping]] = ..., references: _Optional[_Union[WanReferences, _Mapping]] = ..., enhancement_source: _Optional[_Union[_job_pb2.EnhancementSource, str]] = ...) -> None: ...

class WanReferences(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: _job_pb2.Reference
    last: _job_pb2.Reference
    def __init__(self, first: _Optional[_Union[_job_pb2.Reference, _Mapping]] = ..., last: _Optional[_Union[_job_pb2.Reference, _Mapping]] = ...) -> None: ...

class WanConfig(_message.Message):
    __slots__ = ("width", "height", "frames", "fps", "reference_mode", "image", "first_frame", "last_frame")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_MODE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    LAST_FRAME_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    frames: int
    fps: int
    reference_mode: WanReferenceMode
    image: str
    first_frame: str
    last_frame: str
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., frames: _Optional[int] = ..., fps: _Optional[int] = ..., reference_mode: _Optional[_Union[WanReferenceMode, str]] = ..., image: _Optional[str] = ..., first_frame: _Optional[str] = ..., last_frame: _Optional[str] = ...) -> None: ...

class WanMetadata(_message.Message):
    __slots__ = ("reference_image_url", "start_reference_url", "end_reference_url", "reference_strength")
    REFERENCE_IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    START_REFERENCE_URL_FIELD_NUMBER: _ClassVar[int]
    END_REFERENCE_URL_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_STRENGTH_FIELD_NUMBER: _ClassVar[int]
    reference_image_url: str
    start_reference_url: str
    end_reference_url: str
    reference_strength: float
    def __init__(self, reference_image_url: _Optional[str] = ..., start_reference_url: _Optional[str] = ..., end_reference_url: _Optional[str] = ..., reference_strength: _Optional[float] = ...) -> None: ...

class WanSampling(_message.Message):
    __slots__ = ("steps", "guidance_scale", "flow_shift", "seed", "negative_prompt")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    FLOW_SHIFT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    steps: int
    guidance_scale: float
    flow_shift: float
    seed: int
    negative_prompt: str
    def __init__(self, steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., flow_shift: _Optional[float] = ..., seed: _Optional[int] = ..., negative_prompt: _Optional[str] = ...) -> None: ...

class WanCallback(_message.Message):
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
    assets: _containers.RepeatedCompositeFieldContainer[WanAsset]
    metadata: WanCallbackMetadata
    error: _job_pb2.JobError
    def __init__(self, job_id: _Optional[str] = ..., worker_id: _Optional[str] = ..., status: _Optional[_Union[_job_pb2.JobStatus, str]] = ..., assets: _Optional[_Iterable[_Union[WanAsset, _Mapping]]] = ..., metadata: _Optional[_Union[WanCallbackMetadata, _Mapping]] = ..., error: _Optional[_Union[_job_pb2.JobError, _Mapping]] = ...) -> None: ...

class WanAsset(_message.Message):
    __slots__ = ("type", "url", "metadata", "key")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    type: _job_pb2.AssetType
    url: str
    metadata: WanAssetMetadata
    key: str
    def __init__(self, type: _Optional[_Union[_job_pb2.AssetType, str]] = ..., url: _Optional[str] = ..., metadata: _Optional[_Union[WanAssetMetadata, _Mapping]] = ..., key: _Optional[str] = ...) -> None: ...

class WanAssetMetadata(_message.Message):
    __slots__ = ("width", "height", "frames", "fps", "duration", "format", "bytes", "sha256", "mime_type", "seed", "steps", "guidance_scale")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    frames: int
    fps: int
    duration: float
    format: str
    bytes: int
    sha256: str
    mime_type: str
    seed: int
    steps: int
    guidance_scale: float
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., frames: _Optional[int] = ..., fps: _Optional[int] = ..., duration: _Optional[float] = ..., format: _Optional[str] = ..., bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., mime_type: _Optional[str] = ..., seed: _Optional[int] = ..., steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ...) -> None: ...

class WanCallbackMetadata(_message.Message):
    __slots__ = ("enhancement_source", "reference_mode", "processing_time", "vram_used", "auto_enhancement", "model_used")
    ENHANCEMENT_SOURCE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_MODE_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_TIME_FIELD_NUMBER: _ClassVar[int]
    VRAM_USED_FIELD_NUMBER: _ClassVar[int]
    AUTO_ENHANCEMENT_FIELD_NUMBER: _ClassVar[int]
    MODEL_USED_FIELD_NUMBER: _ClassVar[int]
    enhancement_source: _job_pb2.EnhancementSource
    reference_mode: WanReferenceMode
    processing_time: float
    vram_used: int
    auto_enhancement: bool
    model_used: str
    def __init__(self, enhancement_source: _Optional[_Union[_job_pb2.EnhancementSource, str]] = ..., reference_mode: _Optional[_Union[WanReferenceMode, str]] = ..., processing_time: _Optional[float] = ..., vram_used: _Optional[int] = ..., auto_enhancement: _Optional[bool] = ..., model_used: _Optional[str] = ...) -> None: ...
