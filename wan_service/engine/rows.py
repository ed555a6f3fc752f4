"""One clip on its way: what the transformer is told for it, its own scheduler, and its latents."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch

from wan_service.engine.interface import VideoRequest


@dataclass
class Row:
    """One clip.

    `pipeline` is a shallow copy of the loaded one. `words` and, under guidance, `unwanted` have shape (1, tokens,
    features); `latents` (1, channels, latent frames, height / 8 or 16, width / 8 or 16), float32.
    """

    request: VideoRequest
    pipeline: Any
    scheduler: Any
    timesteps: torch.Tensor
    words: torch.Tensor
    unwanted: torch.Tensor | None
    latents: torch.Tensor
    done: int = 0

    @property
    def total(self) -> int:
        return len(self.timesteps)


def scheduler_like(scheduler: Any, flow_shift: float) -> Any:
    """A scheduler of the model's own kind with the shift asked for, which flow-matching Euler calls by another name."""
    name = "flow_shift" if "flow_shift" in scheduler.config else "shift"
    return type(scheduler).from_config(scheduler.config, **{name: flow_shift})


def makeable(frames: int, compression: int) -> int:
    """The least number of the form 4k + 1 that is at least `frames`: Wan makes no other."""
    return -(-(frames - 1) // compression) * compression + 1


def most_tokens(pipeline: Any) -> int:
    """How many tokens the pipeline reads of a prompt."""
    return int(inspect.signature(pipeline.__call__).parameters["max_sequence_length"].default)
