"""What the training loop needs to know of one model: the `Task` protocol, and the device all tasks run on."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from atelier.small_models.cache import cache_root

Batch = Any  # what a task draws for one step; only the task itself looks into it


@dataclass(frozen=True)
class Device:
    """Where training runs. `scale` multiplies batch sizes: a GPU is idle with what fills two CPU cores."""

    torch: torch.device
    scale: int
    drawing_processes: int
    compiled: bool = False

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 on a GPU; float32 on a CPU, most of which only emulate bfloat16, ten times slower."""
        return torch.autocast(self.torch.type, torch.bfloat16, enabled=self.torch.type == "cuda")


def best_device(compiled: bool = False) -> Device:
    """The first GPU, or the CPU, which then draws and trains in one process: the cores are busy anyway."""
    if torch.cuda.is_available():
        return Device(torch.device("cuda"), 8, max(1, (os.cpu_count() or 2) - 2), compiled)
    return Device(torch.device("cpu"), 1, 0, compiled)


class Task(Protocol):
    """One training: everything it does at a step is a function of the step's number, so that a run that was stopped
    goes on exactly where it was."""

    name: str
    learning_rate: float

    def modules(self) -> Mapping[str, nn.Module]:
        """The networks, by the names that checkpoints keep them under."""
        ...

    def draw(self, step: int) -> Batch:
        """Returns the step's scenes, as uint8 arrays and captions. Runs in other processes when there are some."""
        ...

    def samples(self, batch: Batch) -> int:
        """How many samples the batch has."""
        ...

    def loss(self, batch: Batch, step: int) -> Tensor:
        """Returns the loss of this batch."""
        ...

    def grid(self) -> Image.Image:
        """Returns a picture of what the networks can do; called with the averaged weights in place."""
        ...


def training_folder() -> Path:
    """Where checkpoints, pools, sprites and grids lie: `training/` in the cache folder, never in the repository."""
    return cache_root() / "training"


def generator(step: int, stream: int = 0) -> torch.Generator:
    """The step's own random numbers, the same ones when the step is repeated after a restart."""
    return torch.Generator().manual_seed(step * 16 + stream)


def trainable(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """The parameters that learn, by full name."""
    return {
        f"{name}.{key}": parameter
        for name, module in modules.items()
        for key, parameter in module.named_parameters()
        if parameter.requires_grad
    }
