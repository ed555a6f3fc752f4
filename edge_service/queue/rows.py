"""Rows of the job tables as the messages clients see. No SQL and no decisions here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from google.protobuf.timestamp_pb2 import Timestamp

from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.adapters.database import Row
from edge_service.domain.kinds import KINDS, WorkerJob

TERMINAL = ("completed", "failed", "cancelled", "expired")


@dataclass(frozen=True)
class Lease:
    """The right to execute one job. `attempt` fences it: a write under an older attempt is refused."""

    job_id: str
    owner: str
    type_name: str
    worker_type: str
    attempt: int
    job: WorkerJob
    deadline: datetime
    interactive: bool
    kind: str
    cost: float
    """Estimated worker-seconds, as charged to its owner's share."""
    last_sequence: int
    has_webhook: bool = False
    webhook_on_start: bool = False


@dataclass(frozen=True)
class WorkerSlot:
    """A worker slot: the worker that a job can go to, as the tables know it, and how many jobs it runs at once."""

    worker_type: str
    address: str
    worker_id: str
    slots: int
    routing: str | None = None
    """What was weighed when the fleet chose it; stored with the attempts that it gets."""


@dataclass(frozen=True)
class AssetRow:
    """One asset as the store keeps it."""

    key: str
    type: str
    mime_type: str
    bytes: int
    sha256: str


def lease_of(row: Row) -> Lease:
    """A row that was just leased."""
    return Lease(
        row["id"], row["owner"], row["type"], row["worker_type"], row["attempt"],
        KINDS[row["worker_type"]].job_class.FromString(row["plan"]), row["deadline"], row["interactive"], row["kind"],
        row["cost"], row["last_sequence"], row["webhook_url"] is not None, row["webhook_on_start"],
    )  # fmt: skip


def job_message(row: Row) -> edge_pb2.Job:
    """A job as clients see it, from a row of `job_query`. Asset URLs are not in it: they are signed on read."""
    attempts = _attempts(row)
    record = edge_pb2.Job.FromString(row["decisions"])
    record.MergeFrom(
        edge_pb2.Job(
            id=row["id"],
            type=row["type"],
            user_id=row["owner"],
            status=status_value(row["status"]),
            priority=row["priority"],
            charge=row["credits"] if row["status"] == "completed" else 0,
            retry_of=row["retry_of"],
            attempts=[attempt for attempt, _ in attempts],
            created=timestamp(row["created"]),
            started=timestamp(row["started"]),
            ended=timestamp(row["ended"]),
            deadline=timestamp(row["deadline"]),
            last_sequence=row["last_sequence"],
            error=_error(row["error"]),
        )
    )
    record.decisions.extend(_routing(attempts))
    if row["webhook_url"]:
        record.webhook.CopyFrom(_delivery(row))
    getattr(record, row["worker_type"]).ParseFromString(row["plan"])
    if row["callback"] is not None:
        getattr(record, f"{row['worker_type']}_callback").ParseFromString(row["callback"])
    return record


def _attempts(row: Row) -> list[tuple[edge_pb2.Attempt, str | None]]:
    """The attempts of a job, each with what was weighed when its worker was chosen."""
    columns = ("numbers", "workers", "starts", "ends", "errors", "routings")
    return [
        (
            edge_pb2.Attempt(
                number=number, worker_id=worker_id, started=timestamp(started), ended=timestamp(ended),
                error=_error(error),
            ),
            routing,
        )
        for number, worker_id, started, ended, error, routing in zip(
            *(row[f"attempt_{name}"] or () for name in columns), strict=True
        )
    ]  # fmt: skip


def _routing(attempts: Sequence[tuple[edge_pb2.Attempt, str | None]]) -> Iterator[edge_pb2.Decision]:
    """Which worker each attempt went to, as decisions: it is chosen when the job is leased, not when it is planned."""
    before = ""
    for attempt, routing in attempts:
        decision = edge_pb2.Decision(field="worker_id", to=attempt.worker_id)
        setattr(decision, "from", before)
        decision.why = f"attempt {attempt.number}: {routing or 'what was weighed was not recorded'}"
        before = attempt.worker_id
        yield decision


def _delivery(row: Row) -> edge_pb2.WebhookDelivery:
    """How the delivery of a job's callbacks stands."""
    told = edge_pb2.WebhookDelivery(url=row["webhook_url"], state=edge_pb2.WEBHOOK_STATE_PENDING)
    if (state := row["webhook_state"]) is None:
        return told
    told.state = cast(edge_pb2.WebhookState, edge_pb2.WebhookState.Value(f"WEBHOOK_STATE_{state.upper()}"))
    told.attempts, told.last_error = row["webhook_tries"], row["webhook_error"] or ""
    if state == "pending":
        told.next_attempt.FromDatetime(row["webhook_next_try"])
    return told


def event(row: Row) -> edge_pb2.JobEvent:
    """One event of a job's log."""
    record = edge_pb2.JobEvent.FromString(row["event"])
    record.sequence = row["sequence"]
    record.time.FromDatetime(row["time"])
    return record


def asset_message(row: Row) -> edge_pb2.Asset:
    """An asset without its URL."""
    kind = cast(job_pb2.AssetType, job_pb2.AssetType.Value(f"ASSET_TYPE_{row['type'].upper()}"))
    return edge_pb2.Asset(
        key=row["key"], job_id=row["job_id"], type=kind, mime_type=row["mime_type"], bytes=row["bytes"],
        sha256=row["sha256"], created=timestamp(row["created"]),
    )  # fmt: skip


def status_value(word: str) -> "job_pb2.JobStatus":
    """The enum value of a state's word."""
    return cast(job_pb2.JobStatus, job_pb2.JobStatus.Value(f"JOB_STATUS_{word.upper()}"))


def status_word(value: "job_pb2.JobStatus") -> str:
    """The word of a state's enum value."""
    return job_pb2.JobStatus.Name(value).removeprefix("JOB_STATUS_").lower()


def timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _error(data: bytes | None) -> job_pb2.JobError | None:
    return None if data is None else job_pb2.JobError.FromString(data)
