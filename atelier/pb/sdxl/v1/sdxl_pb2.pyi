from atelier.pb.job.v1 import job_pb2 as _job_pb2
from atelier.pb.buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SdxlJobType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SDXL_JOB_TYPE_UNSPECIFIED: _ClassVar[SdxlJobType]
    SDXL_JOB_TYPE_SDXL_IMAGE_FAST: _ClassVar[SdxlJobType]
    SDXL_JOB_TYPE_SDXL_IMAGE_HIGH: _ClassVar[SdxlJobType]

class ReferenceType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFERENCE_TYPE_UNSPECIFIED: _ClassVar[ReferenceType]
    REFERENCE_TYPE_STYLE: _ClassVar[ReferenceType]
    REFERENCE_TYPE_COMPOSITION: _ClassVar[ReferenceType]
    REFERENCE_TYPE_CHARACTER: _ClassVar[ReferenceType]

class SdxlReferenceMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SDXL_REFERENCE_MODE_UNSPECIFIED: _ClassVar[SdxlReferenceMode]
    SDXL_REFERENCE_MODE_NONE: _ClassVar[SdxlReferenceMode]
    SDXL_REFERENCE_MODE_STYLE: _ClassVar[SdxlReferenceMode]
    SDXL_REFERENCE_MODE_COMPOSITION: _ClassVar[SdxlReferenceMode]
    SDXL_REFERENCE_MODE_CHARACTER: _ClassVar[SdxlReferenceMode]

class SdxlScheduler(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SDXL_SCHEDULER_UNSPECIFIED: _ClassVar[SdxlScheduler]
    SDXL_SCHEDULER_EULER: _ClassVar[SdxlScheduler]
    SDXL_SCHEDULER_EULER_ANCESTRAL: _ClassVar[SdxlScheduler]
    SDXL_SCHEDULER_DDIM: _ClassVar[SdxlScheduler]
    SDXL_SCHEDULER_DPMPP_2M: _ClassVar[SdxlScheduler]
    SDXL_SCHEDULER_UNIPC: _ClassVar[SdxlScheduler]
SDXL_JOB_TYPE_UNSPECIFIED: SdxlJobType
SDXL_JOB_TYPE_SDXL_IMAGE_FAST: SdxlJobType
SDXL_JOB_TYPE_SDXL_IMAGE_HIGH: SdxlJobType
REFERENCE_TYPE_UNSPECIFIED: ReferenceType
REFERENCE_TYPE_STYLE: ReferenceType
REFERENCE_TYPE_COMPOSITION: ReferenceType
REFERENCE_TYPE_CHARACTER: ReferenceType
SDXL_REFERENCE_MODE_UNSPECIFIED: SdxlReferenceMode
SDXL_REFERENCE_MODE_NONE: SdxlReferenceMode
SDXL_REFERENCE_MODE_STYLE: SdxlReferenceMode
SDXL_REFERENCE_MODE_COMPOSITION: SdxlReferenceMode
SDXL_REFERENCE_MODE_CHARACTER: SdxlReferenceMode
SDXL_SCHEDULER_UNSPECIFIED: SdxlScheduler
SDXL_SCHEDULER_EULER: SdxlScheduler
SDXL_SCHEDULER_EULER_ANCESTRAL: SdxlScheduler
SDXL_SCHEDULER_DDIM: SdxlScheduler
SDXL_SCHEDULER_DPMPP_2M: SdxlScheduler
SDXL_SCHEDULER_UNIPC: SdxlScheduler

class GenerateRequest(_message.Message):
    __slots__ = ("job", "attempt")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    job: SdxlJob
    attempt: int
    def __init__(self, job: _Optional[_Union[SdxlJob, _Mapping]] = ..., attempt: _Optional[int] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("progress", "preview", "callback")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_FIELD_NUMBER: _ClassVar[int]
    progress: _job_pb2.Progress
    preview: _job_pb2.Preview
    callback: SdxlCallback
    def __init__(self, progress: _Optional[_Union[_job_pb2.Progress, _Mapping]] = ..., preview: _Optional[_Union[_job_pb2.Preview, _Mapping]] = ..., callback: _Optional[_Union[SdxlCallback, _Mapping]] = ...) -> None: ...

class SdxlJob(_message.Message):
    __slots__ = ("id", "type", "prompt", "user_id", "config", "metadata", "compel_enabled", "compel_weights", "sampling", "references", "enhancement_source")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    COMPEL_ENABLED_FIELD_NUMBER: _ClassVar[int]
    COMPEL_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    ENHANCEMENT_SOURCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: SdxlJobType
    prompt: str
    user_id: str
    config: SdxlConfig
    metadata: SdxlMetadata
    compel_enabled: bool
    compel_weights: str
    sampling: SdxlSampling
    references: SdxlReferences
    enhancement_source: _job_pb2.EnhancementSource
    def __init__(self, id: _Optional[str] = ..., type: _Optional[_Union[SdxlJobType, str]] = ..., prompt: _Optional[str] = ..., user_id: _Optional[str] = ..., config: _Optional[_Union[SdxlConfig, _Mapping]] = ..., metadata: _Optional[_Union[SdxlMetadata, _Mapping]] = ..., compel_enabled: _Optional[bool] = ..., compel_weights: _Optional[str] = ..., sampling: _Optional[_Union[SdxlSampling, _Mapping]] = ..., references: _Optional[_Union[SdxlReferences, _Mapping]] = ..., enhancement_source: _Optional[_Union[_job_pb2.EnhancementSource, str]] = ...) -> None: ...

class SdxlReferences(_message.Message):
    __slots__ = ("image", "denoise")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    DENOISE_FIELD_NUMBER: _ClassVar[int]
    image: _job_pb2.Reference
    denoise: float
    def __init__(self, image: _Optional[_Union[_job_pb2.Reference, _Mapping]] = ..., denoise: _Optional[float] = ...) -> None: ...

class SdxlConfig(_message.Message):
    __slots__ = ("num_images", "steps", "guidance_scale", "resolution", "seed", "negative_prompt")
    NUM_IMAGES_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    num_images: int
    steps: int
    guidance_scale: float
    resolution: str
    seed: int
    negative_prompt: str
    def __init__(self, num_images: _Optional[int] = ..., steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., resolution: _Optional[str] = ..., seed: _Optional[int] = ..., negative_prompt: _Optional[str] = ...) -> None: ...

class SdxlMetadata(_message.Message):
    __slots__ = ("reference_image_url", "reference_strength", "reference_type")
    REFERENCE_IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_STRENGTH_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    reference_image_url: str
    reference_strength: float
    reference_type: ReferenceType
    def __init__(self, reference_image_url: _Optional[str] = ..., reference_strength: _Optional[float] = ..., reference_type: _Optional[_Union[ReferenceType, str]] = ...) -> None: ...

class SdxlSampling(_message.Message):
    __slots__ = ("scheduler", "clip_skip", "seeds")
    SCHEDULER_FIELD_NUMBER: _ClassVar[int]
    CLIP_SKIP_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    scheduler: SdxlScheduler
    clip_skip: int
    seeds: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, scheduler: _Optional[_Union[SdxlScheduler, str]] = ..., clip_skip: _Optional[int] = ..., seeds: _Optional[_Iterable[int]] = ...) -> None: ...

class SdxlCallback(_message.Message):
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
    assets: _containers.RepeatedCompositeFieldContainer[SdxlAsset]
    metadata: SdxlCallbackMetadata
    error: _job_pb2.JobError
    def __init__(self, job_id: _Optional[str] = ..., worker_id: _Optional[str] = ..., status: _Optional[_Union[_job_pb2.JobStatus, str]] = ..., assets: _Optional[_Iterable[_Union[SdxlAsset, _Mapping]]] = ..., metadata: _Optional[_Union[SdxlCallbackMetadata, _Mapping]] = ..., error: _Optional[_Union[_job_pb2.JobError, _Mapping]] = ...) -> None: ...

class SdxlAsset(_message.Message):
    __slots__ = ("type", "url", "metadata", "key")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    type: _job_pb2.AssetType
    url: str
    metadata: SdxlAssetMetadata
    key: str
    def __init__(self, type: _Optional[_Union[_job_pb2.AssetType, str]] = ..., url: _Optional[str] = ..., metadata: _Optional[_Union[SdxlAssetMetadata, _Mapping]] = ..., key: _Optional[str] = ...) -> None: ...

class SdxlAssetMetadata(_message.Message):
    __slots__ = ("width", "height", "format", "batch_size", "steps", "guidance_scale", "seed", "bytes", "sha256", "mime_type")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    format: str
    batch_size: int
    steps: int
    guidance_scale: float
    seed: int
    bytes: int
    sha256: str
    mime_type: str
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., format: _Optional[str] = ..., batch_size: _Optional[int] = ..., steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., seed: _Optional[int] = ..., bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., mime_type: _Optional[str] = ...) -> None: ...

class SdxlCallbackMetadata(_message.Message):
    __slots__ = ("enhancement_source", "compel_enhancement", "reference_mode", "processing_time", "vram_used", "model_used")
    ENHANCEMENT_SOURCE_FIELD_NUMBER: _ClassVar[int]
    COMPEL_ENHANCEMENT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_MODE_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_TIME_FIELD_NUMBER: _ClassVar[int]
    VRAM_USED_FIELD_NUMBER: _ClassVar[int]
    MODEL_USED_FIELD_NUMBER: _ClassVar[int]
    enhancement_source: _job_pb2.EnhancementSource
    compel_enhancement: bool
    reference_mode: SdxlReferenceMode
    processing_time: float
    vram_used: int
    model_used: str
    def __init__(self, enhancement_source: _Optional[_Union[_job_pb2.EnhancementSource, str]] = ..., compel_enhancement: _Optional[bool] = ..., reference_mode: _Optional[_Union[SdxlReferenceMode, str]] = ..., processing_time: _Optional[float] = ..., vram_used: _Optional[int] = ..., model_used: _Optional[str] = ...) -> None: ...
