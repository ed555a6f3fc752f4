"""Jobs as they stand, the assets they made, and the bytes of those, as plain values with the specification's words."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from atelier.contracts.json_form import to_spec_dict
from atelier.contracts.validation import enum_word
from atelier.errors import AtelierError, from_job_error
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2

ENDED = frozenset({"completed", "failed", "cancelled", "expired"})
Callback = sdxl_pb2.SdxlCallback | wan_pb2.WanCallback | chat_pb2.ChatCallback


@dataclass(frozen=True, repr=False)
class Asset:
    """One thing a job made.

    `type` is "image", "video" or "text"; `metadata` is the specification's: width, height, seed, frames, fps, ...
    `url` is signed and expires; `content` is the text of a chat answer, which has no key and no URL.
    """

    type: str
    key: str
    url: str
    content: str
    metadata: Mapping[str, Any]
    job_id: str

    @property
    def name(self) -> str:
        """Its file name, such as "image_0.png"; text, which has no key, is "text.txt"."""
        return self.key.rpartition("/")[2] or "text.txt"

    def __repr__(self) -> str:
        return f"Asset(type={self.type!r}, {self._where()})"

    def _where(self) -> str:
        return f"key={self.key!r}" if self.key else f"content={reprlib.repr(self.content)}"


@dataclass(frozen=True, repr=False)
class File(Asset):
    """An asset with its bytes."""

    data: bytes

    def __repr__(self) -> str:
        return f"File(type={self.type!r}, {self._where()}, bytes={len(self.data)})"

    def bytes(self) -> bytes:
        """The bytes of the file."""
        return self.data

    def save(self, path: str | Path) -> Path:
        """Writes the file to `path`; returns where.

        A path without a suffix, such as "pictures", one that ends with a slash, and a folder that exists are folders:
        the file goes into it as "{job_id}_image_0.png", so that no job overwrites what another made.
        """
        target = Path(path)
        if target.is_dir() or str(path).endswith("/") or not target.suffix:
            target = target / f"{self.job_id or Path(self.key).parent.name}_{self.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.data)
        return target


@dataclass(frozen=True, repr=False)
class StoredAsset(Asset):
    """An asset as the edge lists it. `job_id` is empty for an upload; `message` has everything."""

    message: edge_pb2.Asset

    def __repr__(self) -> str:
        return f"StoredAsset(type={self.type!r}, {self._where()}, size={self.size})"

    @property
    def mime_type(self) -> str:
        """Such as "image/png"."""
        return self.message.mime_type

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.message.bytes

    @property
    def created(self) -> datetime:
        """When it was made."""
        return self.message.created.ToDatetime(UTC)


@dataclass(frozen=True)
class Answer:
    """A complete chat answer. `finish_reason` is "stop" or "length"; `model` is what was really loaded."""

    text: str
    tokens: int
    finish_reason: str
    model: str
    job_id: str
    callback: chat_pb2.ChatCallback = field(repr=False)


@dataclass(frozen=True)
class Expected:
    """A time that is only expected: the most likely one, and between which two it falls nine times out of ten."""

    time: datetime
    earliest: datetime
    latest: datetime

    def __repr__(self) -> str:
        return f"Expected({self.time:%Y-%m-%d %T}, between {self.earliest:%T} and {self.latest:%T} {self.time:%Z})"


@dataclass(frozen=True)
class Estimate:
    """When a job will probably start and end, learned from `samples` jobs like it; 0 for a guess.

    `start` is None once it has started.
    """

    start: Expected | None
    finish: Expected
    samples: int


@dataclass(frozen=True)
class Job:
    """A job as it stood when it was asked for. `message` has everything: plan, decisions, attempts, times, charge."""

    message: edge_pb2.Job

    def __repr__(self) -> str:
        return f"Job(id={self.id!r}, type={self.type!r}, status={self.status!r})"

    @property
    def id(self) -> str:
        """Such as "sdxl_image_high_1734567890_abc123"."""
        return self.message.id

    @property
    def type(self) -> str:
        """Such as "sdxl_image_high"."""
        return self.message.type

    @property
    def status(self) -> str:
        """queued, leased, processing, completed, failed, cancelled or expired."""
        return enum_word("JobStatus", job_pb2.JobStatus.Name(self.message.status))

    @property
    def queue_position(self) -> int | None:
        """Place in the queue, 1 for the next; None unless it is queued."""
        return self.message.queue_position if self.message.HasField("queue_position") else None

    @property
    def estimate(self) -> Estimate | None:
        """When it will probably start and end; None once it has ended, and while no worker could run it."""
        return estimate(self.message.estimate) if self.message.HasField("estimate") else None

    @property
    def priority(self) -> int:
        """How urgent it is: its tier's priority plus its own; more goes first."""
        return self.message.priority

    @property
    def retry_of(self) -> str:
        """The id of the job that this one repeats; empty if none."""
        return self.message.retry_of

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.status in ENDED

    @property
    def error(self) -> AtelierError | None:
        """Why it did not complete; None unless it failed, was cancelled or expired."""
        return from_job_error(self.message.error) if self.message.HasField("error") else None

    @property
    def callback(self) -> Callback | None:
        """The specification's callback; None until the job has ended."""
        which = self.message.WhichOneof("callback")
        found: Callback | None = getattr(self.message, which) if which else None
        return found

    @property
    def assets(self) -> list[Asset]:
        """What it made, in order."""
        return [_asset(self.id, to_spec_dict(found)) for found in self.callback.assets] if self.callback else []

    def to_dict(self) -> dict[str, Any]:
        """The job as the specification's JSON."""
        return to_spec_dict(self.message)


def answer(callback: chat_pb2.ChatCallback) -> Answer:
    """The answer that a chat callback carries."""
    found = callback.assets[0]
    finish = chat_pb2.ChatFinishReason.Name(found.metadata.finish_reason)
    return Answer(
        text=found.content,
        tokens=found.metadata.tokens_generated,
        finish_reason=enum_word("ChatFinishReason", finish),
        model=found.metadata.model_name,
        job_id=callback.job_id,
        callback=callback,
    )


def stored(message: edge_pb2.Asset) -> StoredAsset:
    """The asset that a message describes."""
    kind = enum_word("AssetType", job_pb2.AssetType.Name(message.type))
    return StoredAsset(kind, message.key, message.url, "", {"sha256": message.sha256}, message.job_id, message)


def estimate(found: edge_pb2.Estimate) -> Estimate:
    """The estimate that a message carries."""
    start = _expected(found.start, found.start_earliest, found.start_latest) if found.HasField("start") else None
    return Estimate(start, _expected(found.finish, found.finish_earliest, found.finish_latest), found.samples)


def _expected(*times: Timestamp) -> Expected:
    return Expected(*(time.ToDatetime(UTC) for time in times))


def _asset(job_id: str, plain: dict[str, Any]) -> Asset:
    text = {name: plain.get(name, "") for name in ("type", "key", "url", "content")}
    return Asset(**text, metadata=plain.get("metadata", {}), job_id=job_id)
