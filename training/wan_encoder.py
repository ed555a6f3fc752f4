"""Weights that make AutoencoderKLWan's encoder compute `ClipPatches` exactly, and a decoder that begins in colour.

As in `sdxl_encoder`, residual branches are silent, steps down hold the map, constant channels leave the last norm
nothing to do, and every latent comes with its negative. Two things are Wan's own. Each step down adds means of what
goes in to what comes out: the convolutions take them away again. And a first frame, alone, is seen by the
convolution in space only, four frames by one in time as well: that one is found from what the first has to do.
"""

from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import nn

from training.clip_patches import FEATURES, WIDTH, ClipPatches
from training.patches import COLOURS

STRONG: Final[float] = 256.0
LOG_VARIANCE: Final[float] = -12.0
NOW: Final[int] = 2  # a causal convolution's tap that sees the frame itself
# Channels of the last step down to which the mean of an earlier and of a later frame is added.
EARLY: Final[list[int]] = [channel for channel in range(WIDTH) if channel % 4 < 2]
LATE: Final[list[int]] = [channel for channel in range(WIDTH) if channel % 4 >= 2]
DECODER_CONSTANT: Final[float] = 8.0


@torch.no_grad()
def make(vae: AutoencoderKLWan, patches: ClipPatches) -> None:
    """Set the weights of `encoder` and `quant_conv`."""
    encoder: Any = vae.encoder
    for name, parameter in [*encoder.named_parameters(), *vae.quant_conv.named_parameters()]:
        parameter.fill_(1.0 if name.endswith("gamma") else 0.0)
    encoder.conv_in.weight[:, :, NOW, 1, 1] = torch.eye(12)
    cells, pairs, patch, _ = encoder.down_blocks
    patch.resnets[0].conv_shortcut.weight[:FEATURES, :, 0, 0, 0] = torch.eye(FEATURES)
    _make_cells(cells.downsampler.resample[1])
    _make_pairs(pairs.downsampler.resample[1], pairs.downsampler.time_conv)
    _make_patches(patch.downsampler.resample[1], patch.downsampler.time_conv, patches)
    count = len(patches.offset)
    constants = [*EARLY[count:], *LATE[count:]]
    bias = encoder.mid_block.resnets[0].conv2.bias
    bias[constants[::2]], bias[constants[1::2]] = STRONG, -STRONG
    bias[EARLY[:count]] = torch.from_numpy(patches.offset).float()
    bias[LATE[:count]] = -torch.from_numpy(patches.offset).float()
    # RMS norm divides by the length of all channels, and multiplies by the root of their number.
    encoder.norm_out.gamma.zero_()
    encoder.norm_out.gamma[[*EARLY[:count], *LATE[:count]]] = STRONG * (len(constants) / WIDTH) ** 0.5
    for latent in range(count):
        encoder.conv_out.weight[latent, EARLY[latent], NOW, 1, 1] = 1
        encoder.conv_out.weight[latent, LATE[latent], NOW, 1, 1] = -1
        vae.quant_conv.weight[latent, latent] = 1
    assert vae.quant_conv.bias is not None
    vae.quant_conv.bias[count:] = LOG_VARIANCE


@torch.no_grad()
def patches_of(vae: AutoencoderKLWan) -> ClipPatches:
    """The map that `make` gave to this encoder."""
    step: Any = vae.encoder.down_blocks[2].downsampler
    single = step.resample[1].weight[:, :FEATURES, :2, :2].permute(0, 2, 3, 1).reshape(WIDTH, WIDTH).double().numpy()
    count = vae.config.z_dim
    taps = step.time_conv.weight[:, :, :, 0, 0].double().numpy()
    parts = [
        2 * (taps[:, :, 1 + number] @ single + _added(rows))[EARLY[:count]] for number, rows in enumerate((EARLY, LATE))
    ]
    bias: Any = vae.encoder.mid_block.resnets[0].conv2.bias
    return ClipPatches(parts[0], parts[1], bias[EARLY[:count]].double().numpy())


def _make_cells(space: nn.Conv2d) -> None:
    """2x2 pixels as channels of each colour -> the mean colour of 4x4; without the means that are added."""
    for channel in range(12):
        space.weight[channel, channel, :2, :2] = -1 / 4
    for colour in range(COLOURS):
        space.weight[colour, 4 * colour : 4 * colour + 4, :2, :2] += 1 / 16


def _make_pairs(space: nn.Conv2d, time: nn.Conv3d) -> None:
    """2x2 cells -> the twelve features. To two frames their mean is added, to a single one half of it."""
    signs = torch.tensor([-1.0, 1.0])
    for colour in range(COLOURS):
        space.weight[colour, colour, :2, :2] = 1 / 8
        space.weight[COLOURS + colour, colour, :2, :2] = signs[None, :] / 4
        space.weight[2 * COLOURS + colour, colour, :2, :2] = signs[:, None] / 4
        time.weight[3 * COLOURS + colour, colour, 1:, 0, 0] = signs
    for channel in range(COLOURS, 3 * COLOURS):
        time.weight[channel, channel, 1:] = 1 / 2


def _make_patches(space: nn.Conv2d, time: nn.Conv3d, patches: ClipPatches) -> None:
    """The map itself, halved: the next block doubles it."""
    single = _rows((patches.early + patches.late) / 2) - _added(LATE)
    taps = [
        (_rows(part / 2) - _added(rows)) @ np.linalg.pinv(single)
        for part, rows in ((patches.early, EARLY), (patches.late, LATE))
    ]
    by_square = torch.from_numpy(single).float().view(WIDTH, 2, 2, FEATURES)
    space.weight[:, :FEATURES, :2, :2] = by_square.permute(0, 3, 1, 2)
    for number, tap in enumerate(taps):
        time.weight[:, :, 1 + number, 0, 0] = torch.from_numpy(tap).float()


def _rows(matrix: np.ndarray) -> np.ndarray:
    """Latents and their negatives, each in its channel."""
    rows = np.zeros((WIDTH, WIDTH))
    rows[EARLY[: len(matrix)]], rows[LATE[: len(matrix)]] = matrix, -matrix
    return rows


def _added(channels: list[int]) -> np.ndarray:
    """The means that the step adds to these channels: of one feature, over the two squares beside each other."""
    means = np.zeros((WIDTH, 2, 2, FEATURES))
    for channel in channels:
        means[channel, channel % 2, :, channel // 4] = 1 / 2
    return means.reshape(WIDTH, WIDTH)


@torch.no_grad()
def begin(vae: AutoencoderKLWan, patches: ClipPatches) -> None:
    """Let the decoder begin with every patch in its mean colour: the steps up copy it, and all else is silent."""
    decoder: Any = vae.decoder
    width, last = decoder.conv_in.out_channels, decoder.conv_out.in_channels
    colours = np.linalg.inv((patches.early + patches.late)[:COLOURS].reshape(COLOURS, -1, 4, COLOURS)[:, :, 0].sum(1))
    matrix = torch.from_numpy(colours).float()
    offset = -matrix @ torch.from_numpy(patches.offset[:COLOURS]).float()
    for convolution in (decoder.conv_in, decoder.conv_out, vae.post_quant_conv):
        convolution.bias.zero_()
    vae.post_quant_conv.weight.zero_()
    vae.post_quant_conv.weight[range(16), range(16)] = 1
    # The last step up takes four channels for one: row and time of what it draws.
    copies = [4 * colour + part for colour in range(COLOURS) for part in range(4)]
    held = slice(4 * (last - 1), 4 * last)
    decoder.conv_in.weight[[*copies, *range(held.start, held.stop)]] = 0
    for channel in copies:
        decoder.conv_in.weight[channel, :COLOURS, NOW, 1, 1] = matrix[channel // 4]
        decoder.conv_in.bias[channel] = offset[channel // 4]
    decoder.conv_in.bias[held] = DECODER_CONSTANT
    assert width >= held.stop
    for name, parameter in decoder.named_parameters():
        if name.endswith(("conv2.weight", "resample.1.weight", "proj.weight")):
            parameter *= 0.02
        if name.endswith(("conv2.bias", "resample.1.bias", "proj.bias", "conv_shortcut.bias")):
            parameter.zero_()
    decoder.up_blocks[-1].resnets[0].norm1.gamma.fill_(1.0)
    # Colours leave through silu as pairs, x and -x, of one channel each: silu is straight around 0, with slope 1/2.
    decoder.norm_out.gamma.fill_(0.1 * DECODER_CONSTANT / last**0.5)
    decoder.conv_out.weight.zero_()
    for colour in range(COLOURS):
        decoder.conv_out.weight[4 * colour : 4 * colour + 4, colour, NOW, 1, 1] = 2 / 0.1
