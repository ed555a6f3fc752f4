"""What happens to a job, as plain values with the specification's words."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from atelier.contracts.validation import enum_word
from atelier.errors import AtelierError, from_job_error
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.results import Estimate, Job, estimate


@dataclass(frozen=True)
class Event:
    """Something that happened. `sequence` counts a job's events from 1, without gaps."""

    sequence: int
    time: datetime
    message: edge_pb2.JobEvent | edge_pb2.QueueUpdate = field(repr=False)
    """The event as the edge sent it."""


@dataclass(frozen=True)
class StatusChanged(Event):
    """The job is now "queued", "leased" or "processing"."""

    status: str


@dataclass(frozen=True)
class PlaceChanged(Event):
    """The queued job's place, 1 for the next, or its expected times changed. It is told to those who watch and kept
    nowhere: `sequence` is that of the event before it. `estimate` is None while no worker could run the job."""

    position: int
    estimate: Estimate | None


@dataclass(frozen=True)
class AttemptFailed(Event):
    """Attempt number `attempt` failed, for a reason that may pass: the job is queued again, at the earliest for
    `not_before`."""

    error: AtelierError
    attempt: int
    not_before: datetime


@dataclass(frozen=True)
class Progressed(Event):
    """The worker went on: `step` of `total_steps` in `phase`, such as "denoising"; times in seconds."""

    phase: str
    step: int
    total_steps: int
    elapsed_seconds: float
    remaining_seconds: float | None


@dataclass(frozen=True)
class PreviewStored(Event):
    """A picture of the unfinished asset number `index` can be downloaded by its key."""

    key: str
    mime_type: str
    index: int
    step: int


@dataclass(frozen=True)
class TextAdded(Event):
    """More text of a chat answer; `tokens` counts all so far."""

    text: str
    tokens: int


@dataclass(frozen=True)
class Ended(Event):
    """The last event: the job in its final state."""

    job: Job


def from_message(message: edge_pb2.JobEvent) -> Event:
    """The event that a message of WatchJob carries."""
    head = (message.sequence, message.time.ToDatetime(UTC), message)
    match message.WhichOneof("event"):
        case "status":
            return StatusChanged(*head, enum_word("JobStatus", job_pb2.JobStatus.Name(message.status)))
        case "progress":
            return _progress(head, message.progress)
        case "preview":
            found = message.preview
            return PreviewStored(*head, found.key, found.mime_type, found.index, found.step)
        case "delta":
            return _text(head, message.delta)
        case "retry":
            failed = message.retry
            return AttemptFailed(*head, from_job_error(failed.error), failed.attempt, failed.not_before.ToDatetime(UTC))
        case _:
            return Ended(*head, Job(message.ended))


def place_changed(after: int, message: edge_pb2.QueueUpdate) -> PlaceChanged:
    """What a queue update says to a watcher that has seen the events up to `after`."""
    found = estimate(message.estimate) if message.HasField("estimate") else None
    return PlaceChanged(after, datetime.now(UTC), message, message.position, found)


Head = tuple[int, datetime, edge_pb2.JobEvent]


def _progress(head: Head, found: job_pb2.Progress) -> Progressed:
    remaining = found.remaining_seconds if found.HasField("remaining_seconds") else None
    phase = enum_word("Phase", job_pb2.Phase.Name(found.phase))
    return Progressed(*head, phase, found.step, found.total_steps, found.elapsed_seconds, remaining)


def _text(head: Head, found: chat_pb2.ChatDelta) -> TextAdded:
    return TextAdded(*head, found.text, found.tokens)
