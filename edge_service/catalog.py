"""What a frontend needs to draw its forms: job types with parameters, bounds read from the protos, and defaults."""

import json
from collections.abc import Iterator
from typing import Any, cast

from google.protobuf.descriptor import Descriptor

from edge_service.fleet import Fleet
from edge_service.intake.job_types import JOB_CLASSES, JobType, job_types
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.validation_schemas import ValidationConfig, rules

# Set by the edge, or said by the choice of the job type itself.
NOT_ASKED = {"id", "user_id", "type"}


def catalog(fleet: Fleet) -> edge_pb2.GetCatalogResponse:
    """Every job type, and the models that are connected now."""
    available = {worker.worker_type for worker in fleet.connected() if worker.status and worker.status.accepting}
    models = [model for found in fleet.models().values() for model in found]
    entries = [_entry(name, job_type, available) for name, job_type in job_types().items() if not job_type.enhanced]
    return edge_pb2.GetCatalogResponse(job_types=entries, models=models)


def _entry(name: str, job_type: JobType, available: set[str]) -> edge_pb2.JobTypeEntry:
    defaults = dict(_leaves(job_type.values, ""))
    fields = rules(cast(Descriptor, JOB_CLASSES[job_type.worker_type].DESCRIPTOR))
    return edge_pb2.JobTypeEntry(
        name=name,
        worker_type=job_type.worker_type,
        available=job_type.worker_type in available,
        parameters=[_parameter(rule, defaults) for rule in fields if rule.field not in NOT_ASKED],
    )


def _parameter(rule: ValidationConfig, defaults: dict[str, Any]) -> edge_pb2.Parameter:
    default = json.dumps(defaults[rule.field]) if rule.field in defaults else ""
    return edge_pb2.Parameter(
        field=rule.field, type=rule.type, default=default, minimum=rule.minimum, maximum=rule.maximum,
        choices=rule.choices, pattern=rule.pattern,
    )  # fmt: skip


def _leaves(values: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield path + name, value
