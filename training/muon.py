"""Muon: momentum whose updates are made orthogonal (Jordan 2024), for the weights that are matrices.

A small network learns in about half the samples of AdamW; samples are what a CPU has few of. Convolutions count as
matrices of output channels by everything else.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

# Newton-Schulz coefficients and iterations of the original, and the factor that gives updates the size of AdamW's, so
# that both share one learning rate (Moonlight, arXiv 2502.16982).
COEFFICIENTS: Final[tuple[float, float, float]] = (3.4445, -4.7750, 2.0315)
ITERATIONS: Final[int] = 5
ADAMW_SIZE: Final[float] = 0.2
# First and last layers and embeddings are for AdamW, and so are matrices too narrow to have many directions.
NOT_HIDDEN: Final[tuple[str, ...]] = ("conv_in", "conv_out", "embedding", "proj_out.weight", "shared", "quant_conv")
MIN_SIDE: Final[int] = 8


def is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon is for this parameter."""
    if parameter.ndim < 2 or any(part in name for part in NOT_HIDDEN):
        return False
    return min(parameter.shape[0], parameter[0].numel()) >= MIN_SIDE


class Muon(torch.optim.Optimizer):
    """Matrices of one shape are made orthogonal together."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            updates: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update = self._momentum(parameter, group["momentum"]).flatten(1)
                    updates[(update.shape[0], update.shape[1])].append((parameter, update))
            for (rows, columns), together in updates.items():
                size = ADAMW_SIZE * max(rows, columns) ** 0.5
                found = orthogonal(torch.stack([update for _, update in together]))
                for (parameter, _), update in zip(together, found, strict=True):
                    parameter.add_(update.view_as(parameter), alpha=-group["lr"] * size)

    def _momentum(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov's."""
        gradient = parameter.grad
        assert gradient is not None
        kept = self.state[parameter].setdefault("momentum", torch.zeros_like(gradient))
        kept.lerp_(gradient, 1 - momentum)
        return torch.lerp(gradient, kept, momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """[count, rows, columns] -> the same with all singular values near 1.

    Every iteration multiplies by a polynomial of x x^T, so all of them are done on that smaller matrix, and x itself is
    multiplied once.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    square = x @ x.mT
    one = torch.eye(square.shape[-1], device=x.device, dtype=x.dtype)
    factor = one.expand_as(square)
    for iteration in range(ITERATIONS):
        step = torch.baddbmm(a * one + b * square, square, square, alpha=c)
        factor = step @ factor if iteration else step
        if iteration + 1 < ITERATIONS:
            square = step @ square @ step
    found: Tensor = factor @ x
    return found.mT if tall else found
