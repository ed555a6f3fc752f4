"""Preset + overrides -> every worker parameter, each with where it came from.

Precedence: what the request says, then the preset, then the job type. Presence counts, not truth: 0 is a value.
"""

import secrets
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from edge_service.intake.job_types import CHAT_TURN, JobType, WorkerJob, job_types
from shared.errors import InvalidRequest, Violation
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2
from shared.validation_schemas import enum_word

SEEDS = 2**31


@dataclass(frozen=True)
class Filled:
    """A job whose parameters are all set, its type, and one decision for each value the request did not name."""

    type_name: str
    job_type: JobType
    job: WorkerJob
    decisions: list[edge_pb2.Decision]


def fill(job: WorkerJob, preset: str) -> Filled:
    """Completes a copy of `job`. Raises InvalidRequest for a preset that is unknown or for another worker."""
    name = type_name(job)
    job_type = job_types()[name]
    complete, decisions = type(job)(), list[edge_pb2.Decision]()
    complete.CopyFrom(job)  # type: ignore[arg-type]
    if preset:
        _merge(complete, _preset(preset, job_type).defaults(), f"preset {preset}", decisions)
    _merge(complete, job_type.defaults(), f"default of {name}", decisions)
    _draw_seeds(complete, decisions)
    return Filled(name, job_type, complete, decisions)


def type_name(job: WorkerJob) -> str:
    """The job type as the specification's word; "chat_turn" for a chat request, which has none."""
    if isinstance(job, sdxl_pb2.SdxlJob):
        return enum_word("SdxlJobType", sdxl_pb2.SdxlJobType.Name(job.type))
    if isinstance(job, wan_pb2.WanJob):
        return enum_word("WanJobType", wan_pb2.WanJobType.Name(job.type))
    return CHAT_TURN


def _preset(name: str, wanted: JobType) -> JobType:
    fitting = sorted(known for known, entry in job_types().items() if entry.worker_type == wanted.worker_type)
    if name not in fitting:
        raise InvalidRequest(Violation("preset", f"must be one of {', '.join(fitting)}, got '{name}'"))
    return job_types()[name]


def _merge(target: Message, source: Message, why: str, decisions: list[edge_pb2.Decision], path: str = "") -> None:
    for field, value in source.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            _merge(getattr(target, field.name), value, why, decisions, f"{path}{field.name}.")
        elif not _is_set(target, field):
            setattr(target, field.name, value)
            to = _shown(field, value)
            decisions.append(edge_pb2.Decision(field=path + field.name, to=to, why=why))


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    return message.HasField(field.name) if field.has_presence else bool(getattr(message, field.name))


def _shown(field: FieldDescriptor, value: Any) -> str:
    if field.enum_type:
        return enum_word(field.enum_type.name, field.enum_type.values_by_number[value].name)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _draw_seeds(job: WorkerJob, decisions: list[edge_pb2.Decision]) -> None:
    if isinstance(job, wan_pb2.WanJob) and not job.sampling.HasField("seed"):
        job.sampling.seed = secrets.randbelow(SEEDS)
        decisions.append(edge_pb2.Decision(field="sampling.seed", to=str(job.sampling.seed), why="drawn at random"))
    if isinstance(job, sdxl_pb2.SdxlJob):
        _draw_image_seeds(job, decisions)


def _draw_image_seeds(job: sdxl_pb2.SdxlJob, decisions: list[edge_pb2.Decision]) -> None:
    config, seeds = job.config, job.sampling.seeds
    if seeds and len(seeds) != config.num_images:
        description = f"must have one seed per image ({config.num_images}), got {len(seeds)}"
        raise InvalidRequest(Violation("sdxl.sampling.seeds", description))
    if seeds:
        config.seed = seeds[0]
        decisions.append(edge_pb2.Decision(field="config.seed", to=str(seeds[0]), why="first of sampling.seeds"))
        return
    if not config.HasField("seed"):
        config.seed = secrets.randbelow(SEEDS)
        decisions.append(edge_pb2.Decision(field="config.seed", to=str(config.seed), why="drawn at random"))
    seeds.extend((config.seed + index) % SEEDS for index in range(config.num_images))
    to = ", ".join(str(seed) for seed in seeds)
    decisions.append(edge_pb2.Decision(field="sampling.seeds", to=to, why="config.seed + index of the image"))
