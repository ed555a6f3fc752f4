import datetime

from atelier.pb.chat.v1 import chat_pb2 as _chat_pb2
from atelier.pb.job.v1 import job_pb2 as _job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2 as _sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2 as _wan_pb2
from atelier.pb.worker.v1 import worker_pb2 as _worker_pb2
from atelier.pb.buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WebhookState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WEBHOOK_STATE_UNSPECIFIED: _ClassVar[WebhookState]
    WEBHOOK_STATE_PENDING: _ClassVar[WebhookState]
    WEBHOOK_STATE_DELIVERED: _ClassVar[WebhookState]
    WEBHOOK_STATE_GIVEN_UP: _ClassVar[WebhookState]

class Enhancement(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENHANCEMENT_UNSPECIFIED: _ClassVar[Enhancement]
    ENHANCEMENT_OFF: _ClassVar[Enhancement]
    ENHANCEMENT_ON: _ClassVar[Enhancement]

class ContentMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTENT_MODE_UNSPECIFIED: _ClassVar[ContentMode]
    CONTENT_MODE_SFW: _ClassVar[ContentMode]
    CONTENT_MODE_NSFW: _ClassVar[ContentMode]

class ReferenceUse(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFERENCE_USE_UNSPECIFIED: _ClassVar[ReferenceUse]
    REFERENCE_USE_EXACT_COPY: _ClassVar[ReferenceUse]
    REFERENCE_USE_MODIFY: _ClassVar[ReferenceUse]
WEBHOOK_STATE_UNSPECIFIED: WebhookState
WEBHOOK_STATE_PENDING: WebhookState
WEBHOOK_STATE_DELIVERED: WebhookState
WEBHOOK_STATE_GIVEN_UP: WebhookState
ENHANCEMENT_UNSPECIFIED: Enhancement
ENHANCEMENT_OFF: Enhancement
ENHANCEMENT_ON: Enhancement
CONTENT_MODE_UNSPECIFIED: ContentMode
CONTENT_MODE_SFW: ContentMode
CONTENT_MODE_NSFW: ContentMode
REFERENCE_USE_UNSPECIFIED: ReferenceUse
REFERENCE_USE_EXACT_COPY: ReferenceUse
REFERENCE_USE_MODIFY: ReferenceUse

class SubmitJobRequest(_message.Message):
    __slots__ = ("sdxl", "wan", "chat", "preset", "enhancement", "content_mode", "idempotency_key", "webhook", "deadline", "priority", "aspect_ratio", "quality", "style", "reference_use")
    SDXL_FIELD_NUMBER: _ClassVar[int]
    WAN_FIELD_NUMBER: _ClassVar[int]
    CHAT_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    ENHANCEMENT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_MODE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ASPECT_RATIO_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_USE_FIELD_NUMBER: _ClassVar[int]
    sdxl: _sdxl_pb2.SdxlJob
    wan: _wan_pb2.WanJob
    chat: _chat_pb2.ChatRequest
    preset: str
    enhancement: Enhancement
    content_mode: ContentMode
    idempotency_key: str
    webhook: Webhook
    deadline: _duration_pb2.Duration
    priority: int
    aspect_ratio: str
    quality: str
    style: str
    reference_use: ReferenceUse
    def __init__(self, sdxl: _Optional[_Union[_sdxl_pb2.SdxlJob, _Mapping]] = ..., wan: _Optional[_Union[_wan_pb2.WanJob, _Mapping]] = ..., chat: _Optional[_Union[_chat_pb2.ChatRequest, _Mapping]] = ..., preset: _Optional[str] = ..., enhancement: _Optional[_Union[Enhancement, str]] = ..., content_mode: _Optional[_Union[ContentMode, str]] = ..., idempotency_key: _Optional[str] = ..., webhook: _Optional[_Union[Webhook, _Mapping]] = ..., deadline: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., priority: _Optional[int] = ..., aspect_ratio: _Optional[str] = ..., quality: _Optional[str] = ..., style: _Optional[str] = ..., reference_use: _Optional[_Union[ReferenceUse, str]] = ...) -> None: ...

class SubmitJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "statuses")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    statuses: _containers.RepeatedScalarFieldContainer[_job_pb2.JobStatus]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., statuses: _Optional[_Iterable[_Union[_job_pb2.JobStatus, str]]] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("job_id", "after_sequence")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    after_sequence: int
    def __init__(self, job_id: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class WatchJobResponse(_message.Message):
    __slots__ = ("event", "heartbeat", "queue")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    event: JobEvent
    heartbeat: Heartbeat
    queue: QueueUpdate
    def __init__(self, event: _Optional[_Union[JobEvent, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., queue: _Optional[_Union[QueueUpdate, _Mapping]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QueueUpdate(_message.Message):
    __slots__ = ("position", "estimate")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    position: int
    estimate: Estimate
    def __init__(self, position: _Optional[int] = ..., estimate: _Optional[_Union[Estimate, _Mapping]] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("start", "start_earliest", "start_latest", "finish", "finish_earliest", "finish_latest", "samples")
    START_FIELD_NUMBER: _ClassVar[int]
    START_EARLIEST_FIELD_NUMBER: _ClassVar[int]
    START_LATEST_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    FINISH_EARLIEST_FIELD_NUMBER: _ClassVar[int]
    FINISH_LATEST_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    start: _timestamp_pb2.Timestamp
    start_earliest: _timestamp_pb2.Timestamp
    start_latest: _timestamp_pb2.Timestamp
    finish: _timestamp_pb2.Timestamp
    finish_earliest: _timestamp_pb2.Timestamp
    finish_latest: _timestamp_pb2.Timestamp
    samples: int
    def __init__(self, start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_earliest: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_latest: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finish: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finish_earliest: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finish_latest: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., samples: _Optional[int] = ...) -> None: ...

class JobEvent(_message.Message):
    __slots__ = ("sequence", "time", "status", "progress", "preview", "delta", "ended", "retry")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    status: _job_pb2.JobStatus
    progress: _job_pb2.Progress
    preview: _job_pb2.Preview
    delta: _chat_pb2.ChatDelta
    ended: Job
    retry: Retry
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., status: _Optional[_Union[_job_pb2.JobStatus, str]] = ..., progress: _Optional[_Union[_job_pb2.Progress, _Mapping]] = ..., preview: _Optional[_Union[_job_pb2.Preview, _Mapping]] = ..., delta: _Optional[_Union[_chat_pb2.ChatDelta, _Mapping]] = ..., ended: _Optional[_Union[Job, _Mapping]] = ..., retry: _Optional[_Union[Retry, _Mapping]] = ...) -> None: ...

class Retry(_message.Message):
    __slots__ = ("error", "attempt", "not_before")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    error: _job_pb2.JobError
    attempt: int
    not_before: _timestamp_pb2.Timestamp
    def __init__(self, error: _Optional[_Union[_job_pb2.JobError, _Mapping]] = ..., attempt: _Optional[int] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class RetryJobRequest(_message.Message):
    __slots__ = ("job_id", "idempotency_key")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    idempotency_key: str
    def __init__(self, job_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class RetryJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ChatRequest(_message.Message):
    __slots__ = ("request", "content_mode", "context")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    CONTENT_MODE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    request: _chat_pb2.ChatRequest
    content_mode: ContentMode
    context: str
    def __init__(self, request: _Optional[_Union[_chat_pb2.ChatRequest, _Mapping]] = ..., content_mode: _Optional[_Union[ContentMode, str]] = ..., context: _Optional[str] = ...) -> None: ...

class ChatResponse(_message.Message):
    __slots__ = ("accepted", "progress", "delta", "callback")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_FIELD_NUMBER: _ClassVar[int]
    accepted: Job
    progress: _job_pb2.Progress
    delta: _chat_pb2.ChatDelta
    callback: _chat_pb2.ChatCallback
    def __init__(self, accepted: _Optional[_Union[Job, _Mapping]] = ..., progress: _Optional[_Union[_job_pb2.Progress, _Mapping]] = ..., delta: _Optional[_Union[_chat_pb2.ChatDelta, _Mapping]] = ..., callback: _Optional[_Union[_chat_pb2.ChatCallback, _Mapping]] = ...) -> None: ...

class GetAssetRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class GetAssetResponse(_message.Message):
    __slots__ = ("asset",)
    ASSET_FIELD_NUMBER: _ClassVar[int]
    asset: Asset
    def __init__(self, asset: _Optional[_Union[Asset, _Mapping]] = ...) -> None: ...

class ListAssetsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAssetsResponse(_message.Message):
    __slots__ = ("assets", "next_page_token")
    ASSETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    assets: _containers.RepeatedCompositeFieldContainer[Asset]
    next_page_token: str
    def __init__(self, assets: _Optional[_Iterable[_Union[Asset, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DownloadAssetRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class DownloadAssetResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class CreateUploadRequest(_message.Message):
    __slots__ = ("mime_type", "bytes", "sha256")
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    mime_type: str
    bytes: int
    sha256: str
    def __init__(self, mime_type: _Optional[str] = ..., bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class CreateUploadResponse(_message.Message):
    __slots__ = ("asset", "url")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    asset: Asset
    url: str
    def __init__(self, asset: _Optional[_Union[Asset, _Mapping]] = ..., url: _Optional[str] = ...) -> None: ...

class DeleteAssetRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class DeleteAssetResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCatalogRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCatalogResponse(_message.Message):
    __slots__ = ("job_types", "models", "presets", "aspect_ratios", "qualities", "styles", "content_modes", "chat_contexts", "policy_version")
    JOB_TYPES_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    PRESETS_FIELD_NUMBER: _ClassVar[int]
    ASPECT_RATIOS_FIELD_NUMBER: _ClassVar[int]
    QUALITIES_FIELD_NUMBER: _ClassVar[int]
    STYLES_FIELD_NUMBER: _ClassVar[int]
    CONTENT_MODES_FIELD_NUMBER: _ClassVar[int]
    CHAT_CONTEXTS_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    job_types: _containers.RepeatedCompositeFieldContainer[JobTypeEntry]
    models: _containers.RepeatedCompositeFieldContainer[_worker_pb2.Model]
    presets: _containers.RepeatedCompositeFieldContainer[PresetEntry]
    aspect_ratios: _containers.RepeatedCompositeFieldContainer[AspectRatioEntry]
    qualities: _containers.RepeatedCompositeFieldContainer[WordsEntry]
    styles: _containers.RepeatedCompositeFieldContainer[WordsEntry]
    content_modes: _containers.RepeatedScalarFieldContainer[ContentMode]
    chat_contexts: _containers.RepeatedCompositeFieldContainer[WordsEntry]
    policy_version: str
    def __init__(self, job_types: _Optional[_Iterable[_Union[JobTypeEntry, _Mapping]]] = ..., models: _Optional[_Iterable[_Union[_worker_pb2.Model, _Mapping]]] = ..., presets: _Optional[_Iterable[_Union[PresetEntry, _Mapping]]] = ..., aspect_ratios: _Optional[_Iterable[_Union[AspectRatioEntry, _Mapping]]] = ..., qualities: _Optional[_Iterable[_Union[WordsEntry, _Mapping]]] = ..., styles: _Optional[_Iterable[_Union[WordsEntry, _Mapping]]] = ..., content_modes: _Optional[_Iterable[_Union[ContentMode, str]]] = ..., chat_contexts: _Optional[_Iterable[_Union[WordsEntry, _Mapping]]] = ..., policy_version: _Optional[str] = ...) -> None: ...

class PresetEntry(_message.Message):
    __slots__ = ("name", "worker_type", "description", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WORKER_TYPE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    worker_type: str
    description: str
    values: str
    def __init__(self, name: _Optional[str] = ..., worker_type: _Optional[str] = ..., description: _Optional[str] = ..., values: _Optional[str] = ...) -> None: ...

class AspectRatioEntry(_message.Message):
    __slots__ = ("name", "worker_type", "width", "height")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WORKER_TYPE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    worker_type: str
    width: int
    height: int
    def __init__(self, name: _Optional[str] = ..., worker_type: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class WordsEntry(_message.Message):
    __slots__ = ("name", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class GetAccountRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetAccountResponse(_message.Message):
    __slots__ = ("user_id", "tier", "permissions", "content_mode", "quotas", "least_priority", "most_priority")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    CONTENT_MODE_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    LEAST_PRIORITY_FIELD_NUMBER: _ClassVar[int]
    MOST_PRIORITY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    tier: str
    permissions: _containers.RepeatedScalarFieldContainer[str]
    content_mode: ContentMode
    quotas: _containers.RepeatedCompositeFieldContainer[Quota]
    least_priority: int
    most_priority: int
    def __init__(self, user_id: _Optional[str] = ..., tier: _Optional[str] = ..., permissions: _Optional[_Iterable[str]] = ..., content_mode: _Optional[_Union[ContentMode, str]] = ..., quotas: _Optional[_Iterable[_Union[Quota, _Mapping]]] = ..., least_priority: _Optional[int] = ..., most_priority: _Optional[int] = ...) -> None: ...

class Quota(_message.Message):
    __slots__ = ("name", "size", "used", "resets")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    RESETS_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    used: int
    resets: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., used: _Optional[int] = ..., resets: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateKeyRequest(_message.Message):
    __slots__ = ("name", "scopes", "lifetime", "user_id", "tier")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    LIFETIME_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    name: str
    scopes: _containers.RepeatedScalarFieldContainer[str]
    lifetime: _duration_pb2.Duration
    user_id: str
    tier: str
    def __init__(self, name: _Optional[str] = ..., scopes: _Optional[_Iterable[str]] = ..., lifetime: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., user_id: _Optional[str] = ..., tier: _Optional[str] = ...) -> None: ...

class CreateKeyResponse(_message.Message):
    __slots__ = ("key", "secret")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    key: ApiKey
    secret: str
    def __init__(self, key: _Optional[_Union[ApiKey, _Mapping]] = ..., secret: _Optional[str] = ...) -> None: ...

class ListKeysRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class ListKeysResponse(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[ApiKey]
    def __init__(self, keys: _Optional[_Iterable[_Union[ApiKey, _Mapping]]] = ...) -> None: ...

class RevokeKeyRequest(_message.Message):
    __slots__ = ("key_id",)
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    def __init__(self, key_id: _Optional[str] = ...) -> None: ...

class RevokeKeyResponse(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: ApiKey
    def __init__(self, key: _Optional[_Union[ApiKey, _Mapping]] = ...) -> None: ...

class ApiKey(_message.Message):
    __slots__ = ("id", "name", "user_id", "tier", "scopes", "created", "expires", "revoked", "last_used")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    user_id: str
    tier: str
    scopes: _containers.RepeatedScalarFieldContainer[str]
    created: _timestamp_pb2.Timestamp
    expires: _timestamp_pb2.Timestamp
    revoked: _timestamp_pb2.Timestamp
    last_used: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., user_id: _Optional[str] = ..., tier: _Optional[str] = ..., scopes: _Optional[_Iterable[str]] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revoked: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_used: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetWebhookSecretRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetWebhookSecretResponse(_message.Message):
    __slots__ = ("secret",)
    SECRET_FIELD_NUMBER: _ClassVar[int]
    secret: str
    def __init__(self, secret: _Optional[str] = ...) -> None: ...

class ListWorkersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListWorkersResponse(_message.Message):
    __slots__ = ("workers",)
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedCompositeFieldContainer[Worker]
    def __init__(self, workers: _Optional[_Iterable[_Union[Worker, _Mapping]]] = ...) -> None: ...

class LoadModelRequest(_message.Message):
    __slots__ = ("worker_id", "name")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    name: str
    def __init__(self, worker_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class LoadModelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnloadModelRequest(_message.Message):
    __slots__ = ("worker_id", "name")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    name: str
    def __init__(self, worker_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class UnloadModelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DrainWorkerRequest(_message.Message):
    __slots__ = ("worker_id",)
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    def __init__(self, worker_id: _Optional[str] = ...) -> None: ...

class DrainWorkerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "type", "user_id", "status", "queue_position", "estimate", "priority", "attempts", "created", "started", "ended", "deadline", "sdxl", "wan", "chat", "decisions", "sdxl_callback", "wan_callback", "chat_callback", "error", "charge", "last_sequence", "retry_of", "webhook", "original_prompt", "policy_version", "content_mode")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    SDXL_FIELD_NUMBER: _ClassVar[int]
    WAN_FIELD_NUMBER: _ClassVar[int]
    CHAT_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    SDXL_CALLBACK_FIELD_NUMBER: _ClassVar[int]
    WAN_CALLBACK_FIELD_NUMBER: _ClassVar[int]
    CHAT_CALLBACK_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CHARGE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RETRY_OF_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_PROMPT_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_MODE_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: str
    user_id: str
    status: _job_pb2.JobStatus
    queue_position: int
    estimate: Estimate
    priority: int
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    created: _timestamp_pb2.Timestamp
    started: _timestamp_pb2.Timestamp
    ended: _timestamp_pb2.Timestamp
    deadline: _timestamp_pb2.Timestamp
    sdxl: _sdxl_pb2.SdxlJob
    wan: _wan_pb2.WanJob
    chat: _chat_pb2.ChatRequest
    decisions: _containers.RepeatedCompositeFieldContainer[Decision]
    sdxl_callback: _sdxl_pb2.SdxlCallback
    wan_callback: _wan_pb2.WanCallback
    chat_callback: _chat_pb2.ChatCallback
    error: _job_pb2.JobError
    charge: int
    last_sequence: int
    retry_of: str
    webhook: WebhookDelivery
    original_prompt: str
    policy_version: str
    content_mode: ContentMode
    def __init__(self, id: _Optional[str] = ..., type: _Optional[str] = ..., user_id: _Optional[str] = ..., status: _Optional[_Union[_job_pb2.JobStatus, str]] = ..., queue_position: _Optional[int] = ..., estimate: _Optional[_Union[Estimate, _Mapping]] = ..., priority: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sdxl: _Optional[_Union[_sdxl_pb2.SdxlJob, _Mapping]] = ..., wan: _Optional[_Union[_wan_pb2.WanJob, _Mapping]] = ..., chat: _Optional[_Union[_chat_pb2.ChatRequest, _Mapping]] = ..., decisions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., sdxl_callback: _Optional[_Union[_sdxl_pb2.SdxlCallback, _Mapping]] = ..., wan_callback: _Optional[_Union[_wan_pb2.WanCallback, _Mapping]] = ..., chat_callback: _Optional[_Union[_chat_pb2.ChatCallback, _Mapping]] = ..., error: _Optional[_Union[_job_pb2.JobError, _Mapping]] = ..., charge: _Optional[int] = ..., last_sequence: _Optional[int] = ..., retry_of: _Optional[str] = ..., webhook: _Optional[_Union[WebhookDelivery, _Mapping]] = ..., original_prompt: _Optional[str] = ..., policy_version: _Optional[str] = ..., content_mode: _Optional[_Union[ContentMode, str]] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("number", "worker_id", "started", "ended", "error")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    number: int
    worker_id: str
    started: _timestamp_pb2.Timestamp
    ended: _timestamp_pb2.Timestamp
    error: _job_pb2.JobError
    def __init__(self, number: _Optional[int] = ..., worker_id: _Optional[str] = ..., started: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[_Union[_job_pb2.JobError, _Mapping]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("field", "to", "why", "notable")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    NOTABLE_FIELD_NUMBER: _ClassVar[int]
    field: str
    to: str
    why: str
    notable: bool
    def __init__(self, field: _Optional[str] = ..., to: _Optional[str] = ..., why: _Optional[str] = ..., notable: _Optional[bool] = ..., **kwargs) -> None: ...

class Webhook(_message.Message):
    __slots__ = ("url", "on_start")
    URL_FIELD_NUMBER: _ClassVar[int]
    ON_START_FIELD_NUMBER: _ClassVar[int]
    url: str
    on_start: bool
    def __init__(self, url: _Optional[str] = ..., on_start: _Optional[bool] = ...) -> None: ...

class WebhookDelivery(_message.Message):
    __slots__ = ("url", "state", "attempts", "last_error", "next_attempt")
    URL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    url: str
    state: WebhookState
    attempts: int
    last_error: str
    next_attempt: _timestamp_pb2.Timestamp
    def __init__(self, url: _Optional[str] = ..., state: _Optional[_Union[WebhookState, str]] = ..., attempts: _Optional[int] = ..., last_error: _Optional[str] = ..., next_attempt: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Asset(_message.Message):
    __slots__ = ("key", "job_id", "type", "mime_type", "bytes", "sha256", "url", "url_expires", "created")
    KEY_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    URL_EXPIRES_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    key: str
    job_id: str
    type: _job_pb2.AssetType
    mime_type: str
    bytes: int
    sha256: str
    url: str
    url_expires: _timestamp_pb2.Timestamp
    created: _timestamp_pb2.Timestamp
    def __init__(self, key: _Optional[str] = ..., job_id: _Optional[str] = ..., type: _Optional[_Union[_job_pb2.AssetType, str]] = ..., mime_type: _Optional[str] = ..., bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., url: _Optional[str] = ..., url_expires: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class JobTypeEntry(_message.Message):
    __slots__ = ("name", "worker_type", "available", "parameters", "credits", "permitted", "enhanced")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WORKER_TYPE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    PERMITTED_FIELD_NUMBER: _ClassVar[int]
    ENHANCED_FIELD_NUMBER: _ClassVar[int]
    name: str
    worker_type: str
    available: bool
    parameters: _containers.RepeatedCompositeFieldContainer[Parameter]
    credits: int
    permitted: bool
    enhanced: bool
    def __init__(self, name: _Optional[str] = ..., worker_type: _Optional[str] = ..., available: _Optional[bool] = ..., parameters: _Optional[_Iterable[_Union[Parameter, _Mapping]]] = ..., credits: _Optional[int] = ..., permitted: _Optional[bool] = ..., enhanced: _Optional[bool] = ...) -> None: ...

class Parameter(_message.Message):
    __slots__ = ("field", "type", "default", "minimum", "maximum", "choices", "pattern", "available", "multiple_of", "min_side", "max_pixels")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    MULTIPLE_OF_FIELD_NUMBER: _ClassVar[int]
    MIN_SIDE_FIELD_NUMBER: _ClassVar[int]
    MAX_PIXELS_FIELD_NUMBER: _ClassVar[int]
    field: str
    type: str
    default: str
    minimum: float
    maximum: float
    choices: _containers.RepeatedScalarFieldContainer[str]
    pattern: str
    available: bool
    multiple_of: int
    min_side: int
    max_pixels: int
    def __init__(self, field: _Optional[str] = ..., type: _Optional[str] = ..., default: _Optional[str] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., choices: _Optional[_Iterable[str]] = ..., pattern: _Optional[str] = ..., available: _Optional[bool] = ..., multiple_of: _Optional[int] = ..., min_side: _Optional[int] = ..., max_pixels: _Optional[int] = ...) -> None: ...

class Worker(_message.Message):
    __slots__ = ("address", "description", "status", "in_flight", "failures", "ejected_until", "speed")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    EJECTED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    address: str
    description: _worker_pb2.WorkerDescription
    status: _worker_pb2.WatchStatusResponse
    in_flight: int
    failures: int
    ejected_until: _timestamp_pb2.Timestamp
    speed: float
    def __init__(self, address: _Optional[str] = ..., description: _Optional[_Union[_worker_pb2.WorkerDescription, _Mapping]] = ..., status: _Optional[_Union[_worker_pb2.WatchStatusResponse, _Mapping]] = ..., in_flight: _Optional[int] = ..., failures: _Optional[int] = ..., ejected_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., speed: _Optional[float] = ...) -> None: ...
