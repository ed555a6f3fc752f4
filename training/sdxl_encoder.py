"""Weights that make AutoencoderKL's encoder compute `Patches` exactly, without any training.

Branches of residual blocks are silent, so that what goes in comes out. Every step down takes the mean of 2x2 positions,
or keeps all four in channels of their own, and the last one is the linear map. The norm before the last convolution
finds constant channels so strong that it can do nothing to the others but scale them by a known number, and every
latent comes with its negative, because silu(x) - silu(-x) = x.
"""

from collections.abc import Iterator
from typing import Final

import torch
from diffusers import AutoencoderKL
from torch import nn

from training.patches import CELLS, COLOURS, Patches

STRONG: Final[float] = 256.0
LOG_VARIANCE: Final[float] = -12.0
MEANS: Final[int] = 2  # steps down that take means: pixels to cells
SPACES: Final[int] = 3  # steps down that keep all four: cells to patches


@torch.no_grad()
def make(vae: AutoencoderKL, patches: Patches) -> None:
    """Set the weights of `encoder` and `quant_conv`."""
    encoder = vae.encoder
    for parameter in [*encoder.parameters(), *vae.quant_conv.parameters()]:
        parameter.zero_()
    encoder.conv_in.weight[:COLOURS, :, 1, 1] = torch.eye(COLOURS)
    blocks = list(encoder.down_blocks)
    for block in blocks[:-1]:
        if (shortcut := block.resnets[0].conv_shortcut) is not None:
            _identity(shortcut)
    for block in blocks[:MEANS]:
        block.downsamplers[0].conv.weight[:COLOURS, :COLOURS, :2, :2] = torch.eye(COLOURS)[..., None, None] / 4
    width = COLOURS
    for block in blocks[MEANS : MEANS + SPACES - 1]:
        keep = block.downsamplers[0].conv.weight
        for row in range(2):
            for column in range(2):
                part = (2 * row + column) * width
                keep[part : part + width, :width, row, column] = torch.eye(width)
        width *= 4
    _project(blocks[MEANS + SPACES - 1].downsamplers[0].conv, patches)
    _linear_out(vae, len(patches.offset))


@torch.no_grad()
def patches_of(vae: AutoencoderKL) -> Patches:
    """The map that `make` gave to this encoder."""
    convolution = vae.encoder.down_blocks[MEANS + SPACES - 1].downsamplers[0].conv
    count = vae.config.latent_channels
    matrix = torch.empty(count, COLOURS, CELLS, CELLS)
    for y, x, channels in _places():
        matrix[:, :, y, x] = convolution.weight[:count, channels, y // 4, x // 4]
    return Patches(matrix.flatten(1).double().numpy(), convolution.bias[:count].double().numpy())


def _places() -> Iterator[tuple[int, int, slice]]:
    """Row and column of every cell, and the channels that hold it before the last step down: its place in ever larger
    squares, then its colour."""
    for y in range(CELLS):
        for x in range(CELLS):
            inner = (2 * (y % 2) + x % 2) + 4 * (2 * (y // 2 % 2) + x // 2 % 2)
            yield y, x, slice(COLOURS * inner, COLOURS * (inner + 1))


def _identity(convolution: nn.Conv2d) -> None:
    kept = min(convolution.weight.shape[:2])
    convolution.weight[:kept, :kept, 0, 0] = torch.eye(kept)


def _project(convolution: nn.Conv2d, patches: Patches) -> None:
    """The map itself."""
    count = len(patches.offset)
    matrix = torch.from_numpy(patches.matrix).float().view(count, COLOURS, CELLS, CELLS)
    for y, x, channels in _places():
        convolution.weight[:count, channels, y // 4, x // 4] = matrix[:, :, y, x]
    assert convolution.bias is not None
    convolution.bias[:count] = torch.from_numpy(patches.offset).float()


def _linear_out(vae: AutoencoderKL, count: int) -> None:
    encoder = vae.encoder
    pairs = encoder.down_blocks[-1].resnets[0].conv_shortcut
    for latent in range(count):
        pairs.weight[2 * latent, latent] = 1
        pairs.weight[2 * latent + 1, latent] = -1
    channels = encoder.conv_norm_out.num_channels
    constants = channels - 2 * count
    assert encoder.conv_norm_out.num_groups == 1
    assert constants % 2 == 0
    pairs.bias[2 * count :: 2] = STRONG
    pairs.bias[2 * count + 1 :: 2] = -STRONG
    encoder.conv_norm_out.weight[: 2 * count] = STRONG * (constants / channels) ** 0.5
    for latent in range(count):
        encoder.conv_out.weight[latent, 2 * latent, 1, 1] = 1
        encoder.conv_out.weight[latent, 2 * latent + 1, 1, 1] = -1
        vae.quant_conv.weight[latent, latent] = 1
    vae.quant_conv.bias[count:] = LOG_VARIANCE
