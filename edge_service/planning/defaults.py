"""What a request names and chooses, and what its type says -> every worker parameter, each with where it came from.

Precedence: what the request names, then the aspect ratio it chose, then its preset, then its job type. Presence counts,
not truth: 0 is a value. Words of a style and a quality are added at the end, to whatever the prompts are then.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from edge_service.domain.decisions import decision
from edge_service.domain.job_types import CHAT_TURN, JobType, WorkerJob, job_types
from edge_service.domain.partial_job import partial_job
from edge_service.domain.seeds import draw_seeds
from edge_service.planning.presets import NOTHING, Choices, Chosen, Preset, choices, picked, size_values
from edge_service.planning.styles import add_words
from shared.errors import InvalidRequest, Violation
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2
from shared.validation_schemas import check, enum_word

REQUEST = "request"
# What a job is about and whose it is: no parameters, so nobody asks where they came from.
NO_PARAMETERS = {"id", "type", "prompt", "user_id", "messages"}
# Pictures have decisions of their own (references.py), without what may be a secret in an address.
PICTURES = {
    "image", "first_frame", "last_frame", "reference_image_url", "start_reference_url", "end_reference_url",
}  # fmt: skip


@dataclass(frozen=True)
class Filled:
    """A job whose parameters are all set, its type, and one decision for each value that says where it came from."""

    type_name: str
    job_type: JobType
    job: WorkerJob
    decisions: list[edge_pb2.Decision]


def fill(job: WorkerJob, chosen: Chosen = NOTHING) -> Filled:
    """Completes a copy of `job`. Raises InvalidRequest for a choice that is unknown, or does not fit the job."""
    name = type_name(job)
    job_type, table = job_types()[name], choices()
    decisions = list(_from_request(job))
    complete = type(job)()
    complete.CopyFrom(job)  # type: ignore[arg-type]
    if chosen.aspect_ratio:
        size = _size(complete, job_type.worker_type, table, chosen.aspect_ratio)
        _merge(complete, size, f"aspect ratio {chosen.aspect_ratio}", decisions)
    if chosen.preset:
        preset = picked("preset", _presets(table, job_type.worker_type), chosen.preset)
        _merge(complete, preset.filling, f"preset {chosen.preset}", decisions)
        _fits(complete, name, chosen.preset)
    _merge(complete, job_type.filling, f"default of {name}", decisions)
    add_words(complete, table, chosen, decisions)
    draw_seeds(complete, decisions)
    return Filled(name, job_type, complete, decisions)


def type_name(job: WorkerJob) -> str:
    """The job type as the specification's word; "chat_turn" for a chat request, which has none."""
    if isinstance(job, sdxl_pb2.SdxlJob):
        return enum_word("SdxlJobType", sdxl_pb2.SdxlJobType.Name(job.type))
    if isinstance(job, wan_pb2.WanJob):
        return enum_word("WanJobType", wan_pb2.WanJobType.Name(job.type))
    return CHAT_TURN


def _presets(table: Choices, worker_type: str) -> Mapping[str, Preset | JobType]:
    """The presets of a worker type: those of the operator, and its job types."""
    known: dict[str, Preset | JobType] = {**job_types(), **table.presets}
    return {name: preset for name, preset in known.items() if preset.worker_type == worker_type}


def _fits(job: WorkerJob, name: str, preset: str) -> None:
    """A request by itself breaks no rule, but with a preset it may: one of a video does not fit a still."""
    try:
        check(job)
    except InvalidRequest as error:
        said = f"{preset} does not fit a job of type {name}: {error.message}"
        raise InvalidRequest(Violation("preset", said)) from None


def _size(job: WorkerJob, worker_type: str, table: Choices, ratio: str) -> WorkerJob:
    """The size of an aspect ratio as a partial job. Raises InvalidRequest if the request names a size besides."""
    if isinstance(job, chat_pb2.ChatRequest):
        raise InvalidRequest(Violation("aspect_ratio", f"a chat request has no size to set, got '{ratio}'"))
    size = picked("aspect_ratio", table.aspect_ratios.of(worker_type), ratio)
    if named := [field for field in ("resolution", "width", "height") if _names(job.config, field)]:
        given = ", ".join(f"{worker_type}.config.{field}" for field in named)
        said = f"sets the size, and so does {given}: leave one of them out, got '{ratio}'"
        raise InvalidRequest(Violation("aspect_ratio", said))
    return partial_job(worker_type, size_values(worker_type, size))


def _names(config: Message, field: str) -> bool:
    return field in config.DESCRIPTOR.fields_by_name and config.HasField(field)


def _from_request(message: Message, path: str = "") -> Iterator[edge_pb2.Decision]:
    """Yields a decision for every parameter that the request names."""
    for field, value in message.ListFields():
        if (not path and field.name in NO_PARAMETERS) or (path and field.name in PICTURES):
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            yield from _from_request(value, f"{path}{field.name}.")
        else:
            shown = _shown(field, value)
            yield decision(path + field.name, shown, shown, REQUEST)


def _merge(target: Message, source: Message, why: str, decisions: list[edge_pb2.Decision], path: str = "") -> None:
    for field, value in source.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            _merge(getattr(target, field.name), value, why, decisions, f"{path}{field.name}.")
        elif not _is_set(target, field):
            setattr(target, field.name, value)
            decisions.append(decision(path + field.name, "", _shown(field, value), why))


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    return message.HasField(field.name) if field.has_presence else bool(getattr(message, field.name))


def _shown(field: FieldDescriptor, value: Any) -> str:
    if field.is_repeated:
        return ", ".join(str(item) for item in value)
    if field.enum_type:
        return enum_word(field.enum_type.name, field.enum_type.values_by_number[value].name)
    return str(value).lower() if isinstance(value, bool) else str(value)
