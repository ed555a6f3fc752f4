"""Every error the client raises.

AtelierError           what the edge answered; one class per reason, drawn in `atelier.contracts.errors`
  QueueFull            `limit` names what was met, such as "max_queued"; `retry_after_seconds` says when to come back
  QuotaExceeded        the same for what an account may use, such as "jobs_per_day"
EdgeUnreachable        the edge could not be asked at all; a ConnectionError

except atelier.InvalidRequest as error: print(error.violations)
"""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from atelier.contracts.errors import (
    TABLE,
    AssetNotFound,
    AtelierError,
    Cancelled,
    CapabilityMissing,
    ContentForbidden,
    ContentNotAllowed,
    DatabaseUnavailable,
    DeadlineExceeded,
    Draining,
    EdgeLost,
    EngineFailed,
    IdempotencyConflict,
    InputTooLong,
    Internal,
    InvalidRequest,
    JobNotEnded,
    JobNotFound,
    KeyNotFound,
    MalformedMessage,
    MessageTooLarge,
    NoFreeSlot,
    NotImplementedYet,
    NoWorker,
    OutOfMemory,
    PermissionDenied,
    QueueFull,
    QuotaExceeded,
    ReferenceUnusable,
    StorageUnavailable,
    Unauthenticated,
    Violation,
    WorkerLost,
    from_rpc_error,
    reason_word,
    status_of,
)
from atelier.pb.job.v1 import job_pb2

__all__ = [
    "AssetNotFound",
    "AtelierError",
    "Cancelled",
    "CapabilityMissing",
    "ContentForbidden",
    "ContentNotAllowed",
    "DatabaseUnavailable",
    "DeadlineExceeded",
    "Draining",
    "EdgeLost",
    "EdgeUnreachable",
    "EngineFailed",
    "IdempotencyConflict",
    "InputTooLong",
    "Internal",
    "InvalidRequest",
    "JobNotEnded",
    "JobNotFound",
    "KeyNotFound",
    "MalformedMessage",
    "MessageTooLarge",
    "NoFreeSlot",
    "NoWorker",
    "NotImplementedYet",
    "OutOfMemory",
    "PermissionDenied",
    "QueueFull",
    "QuotaExceeded",
    "ReferenceUnusable",
    "StorageUnavailable",
    "Unauthenticated",
    "Violation",
    "WorkerLost",
    "from_job_error",
    "job_is_done",
    "reason_word",
    "translated",
]


class EdgeUnreachable(ConnectionError):
    """No edge answers at this address, or the connection to it broke."""

    def __init__(self, address: str) -> None:
        super().__init__(f"no edge answers at {address}; start one with `atelier up`, or set ATELIER_EDGE")
        self.address = address


@contextmanager
def translated(address: str) -> Iterator[None]:
    """PerOwnerLimiter the gRPC error of a call to the edge at `address` into one of ours."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _translate(error, address) from None


@contextmanager
def job_is_done(job_id: str) -> Iterator[None]:
    """Says with a refused download that the job itself is done, and how to come to what it made."""
    try:
        yield
    except PermissionDenied as error:
        raise PermissionDenied(
            f"job {job_id} is done and kept, but what it made may not be downloaded: {error.message};"
            f" with a key that has the scope assets.read: atelier watch {job_id} --out FOLDER"
        ) from None


def _translate(error: grpc.aio.AioRpcError, address: str) -> AtelierError | EdgeUnreachable:
    # Without details of ours it was gRPC itself that gave up.
    if error.code() is grpc.StatusCode.UNAVAILABLE and not status_of(error).details:
        return EdgeUnreachable(address)
    return from_rpc_error(error)


def from_job_error(error: job_pb2.JobError) -> AtelierError:
    """The error that ended a job, as the exception its RPC would have raised."""
    kind = next((kind for kind, (_, reason) in TABLE.items() if reason == error.reason), Internal)
    return kind(Violation("", error.message)) if issubclass(kind, InvalidRequest) else kind(error.message)
