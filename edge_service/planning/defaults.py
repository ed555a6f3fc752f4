"""What a request names and chooses, and what its type says -> every worker parameter, each with where it came from.

Precedence: what the request names, then the aspect ratio it chose, then its preset, then its job type. Presence counts,
not truth: 0 is a value. Words of a style and a quality are added at the end, to whatever the prompts are then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.contracts.validation import enum_word
from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.decisions import decide
from edge_service.domain.job_types import JobType, job_types
from edge_service.domain.kinds import KINDS, Kind, WorkerJob, kind_of
from edge_service.planning.presets import NOTHING, Choices, Chosen, Preset, choices, picked
from edge_service.planning.styles import add_words
from shared.validation import check

REQUEST = "request"
# What a job is about and whose it is: no parameters, so there is no decision about them.
NO_PARAMETERS = {"id", "type", "prompt", "user_id", "messages"}
# Reference images have decisions of their own (references/resolve.py), without what may be a secret in an address.
REFERENCES = {path for kind in KINDS.values() for path in kind.reference_addresses}


@dataclass(frozen=True)
class Filled:
    """A job whose parameters are all set, and its type."""

    type_name: str
    job_type: JobType
    job: WorkerJob


def fill_as_chosen(request: edge_pb2.SubmitJobRequest) -> Filled:
    """Completes a copy of the job in a request, with the preset, aspect ratio, quality and style that it names."""
    return fill(getattr(request, request.WhichOneof("job") or ""), Chosen.by(request))


def fill(job: WorkerJob, chosen: Chosen = NOTHING) -> Filled:
    """Completes a copy of `job`. Raises InvalidRequest for a choice that is unknown, or does not fit the job."""
    kind = kind_of(job)
    name = kind.type_name(job)
    job_type, table = job_types()[name], choices()
    _tell_request(job)
    complete = type(job)()
    complete.CopyFrom(job)  # type: ignore[arg-type]
    if chosen.aspect_ratio:
        _merge(complete, _size(kind, complete, table, chosen.aspect_ratio), f"aspect ratio {chosen.aspect_ratio}")
    if chosen.preset:
        preset = picked("preset", _presets(table, job_type.worker_type), chosen.preset)
        _merge(complete, preset.filling, f"preset {chosen.preset}")
        _check_preset_fits(complete, name, chosen.preset)
    _merge(complete, job_type.filling, f"default of {name}")
    if chosen.style or chosen.quality:
        add_words(complete, table, chosen)
    kind.draw_seeds(complete)
    return Filled(name, job_type, complete)


def _presets(table: Choices, worker_type: str) -> Mapping[str, Preset | JobType]:
    """The presets of a worker type: those of the operator, and its job types."""
    known: dict[str, Preset | JobType] = {**job_types(), **table.presets}
    return {name: preset for name, preset in known.items() if preset.worker_type == worker_type}


def _check_preset_fits(job: WorkerJob, name: str, preset: str) -> None:
    """A request by itself breaks no rule, but with a preset it may: one of a video does not fit a still."""
    try:
        check(job)
    except InvalidRequest as error:
        said = f"{preset} does not fit a job of type {name}: {error.message}"
        raise InvalidRequest(Violation("preset", said)) from None


def _size(kind: Kind[Any, Any], job: WorkerJob, table: Choices, ratio: str) -> WorkerJob:
    """The size of an aspect ratio as a partial job. Raises InvalidRequest if the request names a size besides."""
    if not kind.size_fields:
        raise InvalidRequest(
            Violation("aspect_ratio", f"a {kind.worker_type} request has no size to set, got '{ratio}'")
        )
    size = picked("aspect_ratio", table.size_fillings[kind.worker_type], ratio)
    if named := [path for path in kind.size_fields if _names(job, path)]:
        given = ", ".join(f"{kind.worker_type}.{path}" for path in named)
        said = f"sets the size, and so does {given}: leave one of them out, got '{ratio}'"
        raise InvalidRequest(Violation("aspect_ratio", said))
    return size


def _names(job: WorkerJob, path: str) -> bool:
    part, _, field = path.rpartition(".")
    return bool(getattr(job, part).HasField(field))


def _tell_request(message: Message, path: str = "") -> None:
    """Records a decision for every parameter that the request names."""
    for field, value in message.ListFields():
        if (not path and field.name in NO_PARAMETERS) or path + field.name in REFERENCES:
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            _tell_request(value, f"{path}{field.name}.")
        else:
            shown = _shown(field, value)
            decide(path + field.name, shown, shown, REQUEST)


def _merge(target: Message, source: Message, why: str, path: str = "") -> None:
    for field, value in source.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            _merge(getattr(target, field.name), value, why, f"{path}{field.name}.")
        elif not _is_set(target, field):
            setattr(target, field.name, value)
            decide(path + field.name, "", _shown(field, value), why)


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    return message.HasField(field.name) if field.has_presence else bool(getattr(message, field.name))


def _shown(field: FieldDescriptor, value: Any) -> str:
    if field.is_repeated:
        return ", ".join(str(item) for item in value)
    if field.enum_type:
        return enum_word(field.enum_type.name, field.enum_type.values_by_number[value].name)
    return str(value).lower() if isinstance(value, bool) else str(value)
