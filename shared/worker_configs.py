"""What a worker is and how its model is run. A worker serves its WorkerConfig over `Describe`; the edge validates
against what the worker said, not against a copy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from atelier.pb.worker.v1 import worker_pb2
from shared.config import DiffusionWorkerConfig


@dataclass(frozen=True)
class ModelConfig:
    """How a model is run: where its weights are, in which number format, on which device, and what memory costs.

    `source` is a local folder, a hub id or (SDXL) one safetensors file. `device` and `dtype` may be "auto".
    """

    source: str
    device: str = "auto"
    dtype: str = "auto"
    compile: bool = False
    attention_slicing: bool = False
    cpu_offload: bool = False


@dataclass(frozen=True)
class Model:
    """One loaded model: the name requests use, what it really is, and what it can do. Sizes are in pixels."""

    name: str
    real_name: str
    capabilities: tuple[str, ...] = ()
    size_multiple: int = 0
    min_side: int = 0
    max_pixels: int = 0
    context_tokens: int = 0


class Sizes(Protocol):
    """What bounds a picture: a Model here, or the one that a worker described itself with."""

    @property
    def size_multiple(self) -> int: ...
    @property
    def min_side(self) -> int: ...
    @property
    def max_pixels(self) -> int: ...


@dataclass(frozen=True)
class CommonSizes:
    """What every size must keep to that one of several models takes; 0 where one of them has no such bound."""

    size_multiple: int
    min_side: int
    max_pixels: int

    @classmethod
    def of(cls, models: Sequence[Sizes]) -> "CommonSizes":
        """The bounds that these models share. Without models there are none."""
        multiple = math.gcd(*(model.size_multiple for model in models))
        is_bounded = models and all(model.max_pixels for model in models)
        return cls(
            0 if any(model.size_multiple == 0 for model in models) else multiple,
            min((model.min_side for model in models), default=0),
            max(model.max_pixels for model in models) if is_bounded else 0,
        )

    def sides(self, least: int, most: int) -> tuple[int, int]:
        """`least` and `most` of a side, narrowed to what any size within these bounds can have."""
        multiple = self.size_multiple or 1
        least = -(-max(least, self.min_side) // multiple) * multiple
        most = min(most, self.max_pixels // least) if self.max_pixels else most
        return least, most // multiple * multiple


def size_problem(width: int, height: int, sizes: Sizes) -> str | None:
    """The bound that a size in pixels breaks, with the size given; None if it breaks none."""
    given = f"got {width}x{height}"
    if sizes.size_multiple and (width % sizes.size_multiple or height % sizes.size_multiple):
        return f"both sides must be multiples of {sizes.size_multiple}, {given}"
    if min(width, height) < sizes.min_side:
        return f"both sides must be at least {sizes.min_side}, {given}"
    if sizes.max_pixels and width * height > sizes.max_pixels:
        return f"width x height must be at most {sizes.max_pixels} pixels, {given}"
    return None


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
    version: str = field(default_factory=lambda: package_version())


def model_config(config: DiffusionWorkerConfig) -> ModelConfig:
    """The part of a worker's configuration that its engine needs."""
    return ModelConfig(
        config.model, config.device, config.dtype, config.compile, config.attention_slicing, config.cpu_offload
    )


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


def package_version() -> str:
    """The installed version of Atelier, or "0" when it runs from a bare checkout."""
    try:
        return version("atelier")
    except PackageNotFoundError:
        return "0"
