"""Every error that can reach a caller, and the one table that gives each its gRPC code and reason.

AtelierError
├── InvalidRequest          a field breaks a rule; carries the violations
│   └── InputTooLong        more tokens than the model takes
├── MalformedMessage        bytes that are no message
├── MessageTooLarge
├── Unauthenticated
├── PermissionDenied
├── IdempotencyConflict     the key stands for another request
├── JobNotFound
├── AssetNotFound
├── CapabilityMissing       the loaded model cannot do it
├── NotImplementedYet       in the contract, not in this version
├── NoFreeSlot              come back later; carries when
│   ├── QueueFull           too many jobs wait; carries the limit
│   └── QuotaExceeded       an account's limit is used up; carries the limit
├── ContentForbidden        sexual content with an indication of a minor: refused for everyone, always
├── ContentNotAllowed       a rule of the content mode refuses it
├── ReferenceUnusable       a reference image that cannot be fetched, or is none
├── KeyNotFound
├── OutOfMemory
├── NoWorker
├── WorkerLost
├── EdgeLost
├── JobNotEnded
├── Draining
├── StorageUnavailable
├── DatabaseUnavailable
├── DeadlineExceeded
├── Cancelled
├── EngineFailed            the model failed while executing
└── Internal                a mistake of ours
ModelUnusable               stops a worker at start; never reaches a caller

Raise these anywhere; only `shared/interceptors.py` turns them into a gRPC status, and only `from_rpc_error` turns a
status back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details_pb2
from google.rpc import status_pb2

from atelier.pb.job.v1 import job_pb2

DOMAIN = "atelier"
# gRPC turns trailers over 8 KiB into RESOURCE_EXHAUSTED. They carry the message twice, once percent-encoded, and the
# violations, which take a third more where a proxy writes them in base64.
MAX_VIOLATIONS, MAX_VIOLATION_BYTES = 50, 3584
MAX_MESSAGE_BYTES = 1000


@dataclass(frozen=True)
class Violation:
    """One broken rule: the field's path in the request and what is wrong, with the bound and the value given."""

    field: str
    description: str


class AtelierError(Exception):
    """An error that a caller may see. `message` is one sentence and holds no exception text and no content."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(AtelierError):
    def __init__(self, *violations: Violation) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" if v.field else v.description for v in violations))
        self.violations = violations


class InputTooLong(InvalidRequest): ...


class MalformedMessage(AtelierError): ...


class MessageTooLarge(AtelierError): ...


class Unauthenticated(AtelierError): ...


class PermissionDenied(AtelierError): ...


class IdempotencyConflict(AtelierError): ...


class JobNotFound(AtelierError): ...


class AssetNotFound(AtelierError): ...


class CapabilityMissing(AtelierError): ...


class NotImplementedYet(AtelierError): ...


class NoFreeSlot(AtelierError):
    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QueueFull(NoFreeSlot):
    def __init__(self, message: str, limit: str = "", retry_after_seconds: float = 5.0) -> None:
        """`limit` names the limit that was met, such as "max_queued"."""
        super().__init__(message, retry_after_seconds)
        self.limit = limit


class QuotaExceeded(NoFreeSlot):
    def __init__(self, message: str, limit: str = "", retry_after_seconds: float = 60.0) -> None:
        """`limit` names the limit that was met, such as "jobs_per_day"; the time is that until it resets."""
        super().__init__(message, retry_after_seconds)
        self.limit = limit


class ContentForbidden(AtelierError): ...


class ContentNotAllowed(AtelierError): ...


class ReferenceUnusable(AtelierError): ...


class KeyNotFound(AtelierError): ...


class OutOfMemory(AtelierError): ...


class NoWorker(AtelierError): ...


class WorkerLost(AtelierError): ...


class EdgeLost(AtelierError): ...


class JobNotEnded(AtelierError): ...


class Draining(AtelierError): ...


class StorageUnavailable(AtelierError): ...


class DatabaseUnavailable(AtelierError): ...


class DeadlineExceeded(AtelierError): ...


class Cancelled(AtelierError): ...


class EngineFailed(AtelierError): ...


class Internal(AtelierError): ...


class ModelUnusable(Exception):
    """A model that cannot be loaded: its message is the one line the operator reads."""


_Code = grpc.StatusCode
TABLE: dict[type[AtelierError], tuple[grpc.StatusCode, "job_pb2.ErrorReason"]] = {
    InvalidRequest: (_Code.INVALID_ARGUMENT, job_pb2.ERROR_REASON_INVALID_REQUEST),
    InputTooLong: (_Code.INVALID_ARGUMENT, job_pb2.ERROR_REASON_INPUT_TOO_LONG),
    MalformedMessage: (_Code.INVALID_ARGUMENT, job_pb2.ERROR_REASON_MALFORMED_MESSAGE),
    MessageTooLarge: (_Code.RESOURCE_EXHAUSTED, job_pb2.ERROR_REASON_MESSAGE_TOO_LARGE),
    Unauthenticated: (_Code.UNAUTHENTICATED, job_pb2.ERROR_REASON_UNAUTHENTICATED),
    PermissionDenied: (_Code.PERMISSION_DENIED, job_pb2.ERROR_REASON_PERMISSION_DENIED),
    IdempotencyConflict: (_Code.ALREADY_EXISTS, job_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT),
    JobNotFound: (_Code.NOT_FOUND, job_pb2.ERROR_REASON_JOB_NOT_FOUND),
    AssetNotFound: (_Code.NOT_FOUND, job_pb2.ERROR_REASON_ASSET_NOT_FOUND),
    CapabilityMissing: (_Code.FAILED_PRECONDITION, job_pb2.ERROR_REASON_CAPABILITY_MISSING),
    NotImplementedYet: (_Code.UNIMPLEMENTED, job_pb2.ERROR_REASON_NOT_IMPLEMENTED),
    NoFreeSlot: (_Code.RESOURCE_EXHAUSTED, job_pb2.ERROR_REASON_NO_FREE_SLOT),
    QueueFull: (_Code.RESOURCE_EXHAUSTED, job_pb2.ERROR_REASON_QUEUE_FULL),
    QuotaExceeded: (_Code.RESOURCE_EXHAUSTED, job_pb2.ERROR_REASON_QUOTA_EXCEEDED),
    ContentForbidden: (_Code.PERMISSION_DENIED, job_pb2.ERROR_REASON_CONTENT_FORBIDDEN),
    ContentNotAllowed: (_Code.PERMISSION_DENIED, job_pb2.ERROR_REASON_CONTENT_NOT_ALLOWED),
    ReferenceUnusable: (_Code.FAILED_PRECONDITION, job_pb2.ERROR_REASON_REFERENCE_UNUSABLE),
    KeyNotFound: (_Code.NOT_FOUND, job_pb2.ERROR_REASON_KEY_NOT_FOUND),
    OutOfMemory: (_Code.RESOURCE_EXHAUSTED, job_pb2.ERROR_REASON_OUT_OF_MEMORY),
    NoWorker: (_Code.UNAVAILABLE, job_pb2.ERROR_REASON_NO_WORKER),
    WorkerLost: (_Code.UNAVAILABLE, job_pb2.ERROR_REASON_WORKER_LOST),
    EdgeLost: (_Code.UNAVAILABLE, job_pb2.ERROR_REASON_EDGE_LOST),
    JobNotEnded: (_Code.FAILED_PRECONDITION, job_pb2.ERROR_REASON_JOB_NOT_ENDED),
    Draining: (_Code.UNAVAILABLE, job_pb2.ERROR_REASON_DRAINING),
    StorageUnavailable: (_Code.UNAVAILABLE, job_pb2.ERROR_REASON_STORAGE_UNAVAILABLE),
    DatabaseUnavailable: (_Code.UNAVAILABLE, job_pb2.ERROR_REASON_DATABASE_UNAVAILABLE),
    DeadlineExceeded: (_Code.DEADLINE_EXCEEDED, job_pb2.ERROR_REASON_DEADLINE_EXCEEDED),
    Cancelled: (_Code.CANCELLED, job_pb2.ERROR_REASON_CANCELLED),
    EngineFailed: (_Code.INTERNAL, job_pb2.ERROR_REASON_ENGINE_FAILED),
    Internal: (_Code.INTERNAL, job_pb2.ERROR_REASON_INTERNAL),
}
# What a status means that carries no ErrorInfo of ours: gRPC itself or a proxy made it.
FOREIGN: dict[grpc.StatusCode, type[AtelierError]] = {
    _Code.CANCELLED: Cancelled,
    _Code.DEADLINE_EXCEEDED: DeadlineExceeded,
    _Code.UNAVAILABLE: WorkerLost,
    _Code.UNAUTHENTICATED: Unauthenticated,
    _Code.PERMISSION_DENIED: PermissionDenied,
    _Code.RESOURCE_EXHAUSTED: MessageTooLarge,
    _Code.UNIMPLEMENTED: NotImplementedYet,
}


def code(error: AtelierError) -> grpc.StatusCode:
    """The gRPC status code of an error."""
    return TABLE[type(error)][0]


def reason_word(error: AtelierError) -> str:
    """The reason of an error as ErrorInfo carries it, such as "INVALID_REQUEST"."""
    return job_pb2.ErrorReason.Name(TABLE[type(error)][1]).removeprefix("ERROR_REASON_")


def to_job_error(error: AtelierError) -> job_pb2.JobError:
    """The error as a job's record and its callback carry it."""
    return job_pb2.JobError(reason=TABLE[type(error)][1], message=_clip(error.message))


def to_status(error: AtelierError) -> status_pb2.Status:
    """The error as google.rpc.Status: ErrorInfo always, BadRequest, RetryInfo, QuotaFailure where they apply."""
    status = status_pb2.Status(code=code(error).value[0], message=_clip(error.message))
    details = [details_pb2.ErrorInfo(reason=reason_word(error), domain=DOMAIN), *_extra_details(error)]
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _extra_details(error: AtelierError) -> list[Message]:
    if isinstance(error, InvalidRequest):
        return [_bad_request(error.violations)]
    if isinstance(error, NoFreeSlot):
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after_seconds * 1000))
        retry: list[Message] = [details_pb2.RetryInfo(retry_delay=delay)]
        return [*retry, _quota_failure(error)] if isinstance(error, QueueFull | QuotaExceeded) else retry
    return []


def _quota_failure(error: QueueFull | QuotaExceeded) -> details_pb2.QuotaFailure:
    violation = details_pb2.QuotaFailure.Violation(subject=error.limit, description=_clip(error.message))
    return details_pb2.QuotaFailure(violations=[violation])


def _bad_request(violations: tuple[Violation, ...]) -> details_pb2.BadRequest:
    request, size = details_pb2.BadRequest(), 0
    for count, violation in enumerate(violations):
        found = details_pb2.BadRequest.FieldViolation(field=violation.field, description=violation.description)
        size += found.ByteSize()
        if count == MAX_VIOLATIONS or size > MAX_VIOLATION_BYTES:
            request.field_violations.add(description=f"and {len(violations) - count} more")
            break
        request.field_violations.append(found)
    return request


def _clip(text: str) -> str:
    room = MAX_MESSAGE_BYTES
    for index, letter in enumerate(text):
        room -= 1 if " " <= letter <= "~" and letter != "%" else 3 * len(letter.encode())
        if room < 0:
            return text[:index]
    return text


def from_rpc_error(error: grpc.RpcError) -> AtelierError:
    """The error that a peer's status stands for; a status that is not ours becomes its nearest kind."""
    status = status_of(error)
    kinds = {
        job_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_"): kind for kind, (_, reason) in TABLE.items()
    }
    violations: tuple[Violation, ...] = ()
    kind: type[AtelierError] | None = None
    for detail in status.details:
        if detail.Is(details_pb2.ErrorInfo.DESCRIPTOR):
            kind = kinds.get(details_pb2.ErrorInfo.FromString(detail.value).reason)
        if detail.Is(details_pb2.BadRequest.DESCRIPTOR):
            found = details_pb2.BadRequest.FromString(detail.value).field_violations
            violations = tuple(Violation(v.field, v.description) for v in found)
    kind = kind or FOREIGN.get(error.code(), Internal)
    if issubclass(kind, InvalidRequest):
        return kind(*violations)
    found = kind(status.message or error.code().name.lower())
    if isinstance(found, NoFreeSlot):
        _read_limits(found, status)
    return found


def _read_limits(error: NoFreeSlot, status: status_pb2.Status) -> None:
    """Gives the error what the details of its status say: when to come back, and the limit that was met."""
    for detail in status.details:
        if detail.Is(details_pb2.RetryInfo.DESCRIPTOR):
            delay = details_pb2.RetryInfo.FromString(detail.value).retry_delay
            error.retry_after_seconds = delay.ToMilliseconds() / 1000
        if isinstance(error, QueueFull | QuotaExceeded) and detail.Is(details_pb2.QuotaFailure.DESCRIPTOR):
            for violation in details_pb2.QuotaFailure.FromString(detail.value).violations:
                error.limit = violation.subject


def status_of(error: grpc.RpcError) -> status_pb2.Status:
    """The google.rpc.Status of a failed call; empty details where the peer sent none."""
    for key, value in cast(Iterable[tuple[str, bytes]], error.trailing_metadata() or ()):
        if key == "grpc-status-details-bin":
            return status_pb2.Status.FromString(value)
    return status_pb2.Status(code=error.code().value[0], message=error.details() or "")
