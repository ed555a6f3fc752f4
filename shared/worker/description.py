"""What a worker is. It serves this over `Describe`; the edge validates against what the worker said, not a copy."""

from dataclasses import dataclass, field

from atelier.pb.worker.v1 import worker_pb2
from shared.version import package_version
from shared.worker.engine import Model


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker is: its name, the job types it executes, its models, and how many jobs it runs at once."""

    worker_id: str
    worker_type: str
    job_types: tuple[str, ...]
    models: tuple[Model, ...]
    slots: int
    device: str
    dtype: str
    version: str = field(default_factory=package_version)


def describe(config: WorkerConfig) -> worker_pb2.WorkerDescription:
    """The WorkerConfig as `Describe` answers it."""
    return worker_pb2.WorkerDescription(
        worker_id=config.worker_id,
        worker_type=config.worker_type,
        job_types=config.job_types,
        models=[worker_pb2.Model(**vars(model)) for model in config.models],
        slots=config.slots,
        device=config.device,
        dtype=config.dtype,
        version=config.version,
    )
