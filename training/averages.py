"""An exponential moving average of the weights: what grids are drawn with and what is exported."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Averages:
    """Averages over about the last ninth of the run, so that no learning rate decay has to be planned for a run whose
    end is not known (power function averaging, Karras et al. 2023, arXiv 2312.02696)."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = parameters
        self.values: dict[str, Tensor] = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        keep = min(0.9998, (1 + step) / (10 + step))
        own = list(self.values.values())
        torch._foreach_lerp_(own, [self._parameters[name].detach() for name in self.values], 1 - keep)

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Go on from what a checkpoint kept."""
        for name, value in values.items():
            if name in self.values:
                self.values[name].copy_(value)

    @contextmanager
    @torch.no_grad()
    def in_place(self) -> Iterator[None]:
        """The networks have the averaged weights inside this block and their own after it."""
        own = {name: p.detach().clone() for name, p in self._parameters.items()}
        for name, p in self._parameters.items():
            p.copy_(self.values[name])
        try:
            yield
        finally:
            for name, p in self._parameters.items():
                p.copy_(own[name])
