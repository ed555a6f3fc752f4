"""The decoder of the small SDXL without its norms, and how AutoencoderKL's decoder becomes the same function.

Group norm makes every position's colours depend on all of the picture: a decoder that learnt on parts of pictures,
which cost a tenth of whole ones, gives whole ones the wrong colours. So this one has none. AutoencoderKL has some
everywhere; three of each of its channels keep them from doing anything. Two are constant, K and -K, so strong that they
alone are the variance. The third is minus the sum of all others, so that the mean is nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.small_models.sdxl_trained import LATENT_CHANNELS, VAE_CHANNELS
from training.patches import COLOURS, Patches

KEPT: Final[int] = 3  # channels that hold the norms still
STRONG: Final[float] = 256.0
BRANCH: Final[float] = 0.1  # how strong a block's own part is at first
# Colours leave through silu where it is straight: twice their size around 6.
SPREAD, MIDDLE = 2.0, 6.0


class Affine(nn.Module):
    """What is left of a norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class Block(nn.Module):
    """A residual block, named as in diffusers."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = Affine(width), Affine(out)
        self.conv1, self.conv2 = nn.Conv2d(width, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = None if width == out else nn.Conv2d(width, out, 1)
        with torch.no_grad():
            self.conv2.weight *= BRANCH
            _no_bias(self.conv2)
            if self.conv_shortcut is not None:
                _no_bias(self.conv_shortcut)
                kept = min(width, out)
                self.conv_shortcut.weight[:kept] *= 0.1
                self.conv_shortcut.weight[:kept, :kept, 0, 0] = torch.eye(kept)
                self.conv_shortcut.weight[:COLOURS, COLOURS:] = 0

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        skipped: Tensor = x if self.conv_shortcut is None else self.conv_shortcut(x)
        return h + skipped


class Up(nn.Module):
    """Two blocks, and twice the size."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Block(width, out), Block(out, out)])
        self.conv: nn.Conv2d | None = nn.Conv2d(out, out, 3, padding=1)
        with torch.no_grad():
            self.conv.weight *= 0.1
            self.conv.weight[:COLOURS] = 0
            # Of repeated positions, this is what lies between them.
            self.conv.weight[range(out), range(out)] = torch.outer(*[torch.tensor([0.25, 0.5, 0.25])] * 2)
            _no_bias(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resnets:
            x = block(x)
        if self.conv is not None:
            x = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


class PlainDecoder(nn.Module):
    """Before it learns anything it draws every patch in its mean colour, with soft edges."""

    def __init__(self, patches: Patches, channels: Sequence[int] = VAE_CHANNELS) -> None:
        super().__init__()
        widths = [width - KEPT for width in reversed(channels)]
        self.conv_in = nn.Conv2d(LATENT_CHANNELS, widths[0], 3, padding=1)
        self.mid = nn.ModuleList([Block(widths[0], widths[0]) for _ in range(2)])
        ups = [Up(*both) for both in zip([widths[0], *widths[:-1]], widths, strict=True)]
        ups[-1].conv = None
        self.ups = nn.ModuleList(ups)
        self.norm_out = Affine(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], COLOURS, 3, padding=1)
        self._pass_colours(patches)

    @torch.no_grad()
    def _pass_colours(self, patches: Patches) -> None:
        matrix, offset = (torch.from_numpy(part).float() for part in patches.colours())
        self.conv_in.weight[:COLOURS] = 0
        self.conv_in.weight[:COLOURS, :, 1, 1] = matrix
        _no_bias(self.conv_in)[:COLOURS] = offset
        copied = min(LATENT_CHANNELS, len(self.conv_in.weight) - COLOURS)
        self.conv_in.weight[COLOURS : COLOURS + copied, :, 1, 1] += torch.eye(LATENT_CHANNELS)[:copied]
        self.norm_out.weight[:COLOURS] = SPREAD
        self.norm_out.bias[:COLOURS] = MIDDLE
        self.conv_out.weight.zero_()
        self.conv_out.weight[:COLOURS, :COLOURS, 1, 1] = torch.eye(COLOURS) / SPREAD
        _no_bias(self.conv_out).fill_(-MIDDLE / SPREAD)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.conv_in(latents)
        for block in [*self.mid, *self.ups]:
            x = block(x)
        drawn: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return drawn

    @torch.no_grad()
    def into(self, vae: AutoencoderKL) -> None:
        """Make `decoder` and `post_quant_conv` of `vae` this function."""
        for parameter in [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]:
            parameter.zero_()
        vae.post_quant_conv.weight[:, :, 0, 0] = torch.eye(LATENT_CHANNELS)
        for convolution, own, constants in self._convolutions(vae.decoder):
            _hold(convolution, own, constants)
        for norm, scale in self._norms(vae.decoder):
            assert norm.num_groups == 1
            norm.weight[: len(scale.weight)] = scale.weight * _strength(scale)
            norm.bias[: len(scale.weight)] = scale.bias
        vae.decoder.conv_out.weight[:, : self.conv_out.in_channels] = self.conv_out.weight
        vae.decoder.conv_out.bias.copy_(self.conv_out.bias)

    @torch.no_grad()
    def take(self, vae: AutoencoderKL) -> None:
        """The way back, from a `vae` that `into` was given; from any other, nothing is taken."""
        if float(vae.decoder.conv_in.bias[-1]) != -STRONG:
            return
        for convolution, own, _ in self._convolutions(vae.decoder):
            out, into = own.weight.shape[:2]
            assert convolution.bias is not None
            own.weight.copy_(convolution.weight[:out, :into])
            _no_bias(own).copy_(convolution.bias[:out])
        for norm, scale in self._norms(vae.decoder):
            scale.weight.copy_(norm.weight[: len(scale.weight)] / _strength(scale))
            scale.bias.copy_(norm.bias[: len(scale.weight)])
        self.conv_out.weight.copy_(vae.decoder.conv_out.weight[:, : self.conv_out.in_channels])
        _no_bias(self.conv_out).copy_(vae.decoder.conv_out.bias)

    def _blocks(self, decoder: Any) -> Iterator[tuple[Any, Block]]:
        theirs = [*decoder.mid_block.resnets, *(resnet for up in decoder.up_blocks for resnet in up.resnets)]
        own = [*self.mid, *(block for up in self.ups for block in _up(up).resnets)]
        for resnet, block in zip(theirs, own, strict=True):
            assert isinstance(block, Block)
            yield resnet, block

    def _convolutions(self, decoder: Any) -> Iterator[tuple[nn.Conv2d, nn.Conv2d, bool]]:
        """Theirs, own, and whether the constants have to be made there."""
        yield decoder.conv_in, self.conv_in, True
        for up, own in zip(decoder.up_blocks, self.ups, strict=True):
            if (convolution := _up(own).conv) is not None:
                yield up.upsamplers[0].conv, convolution, True
        for resnet, block in self._blocks(decoder):
            yield resnet.conv1, block.conv1, True
            yield resnet.conv2, block.conv2, False
            if block.conv_shortcut is not None:
                yield resnet.conv_shortcut, block.conv_shortcut, True

    def _norms(self, decoder: Any) -> Iterator[tuple[nn.GroupNorm, Affine]]:
        for resnet, block in self._blocks(decoder):
            yield resnet.norm1, block.norm1
            yield resnet.norm2, block.norm2
        yield decoder.conv_norm_out, self.norm_out


def _up(module: nn.Module) -> Up:
    assert isinstance(module, Up)
    return module


def _strength(scale: Affine) -> float:
    """What a norm divides by, as the two constants make it."""
    return float(STRONG * (2 / (len(scale.weight) + KEPT)) ** 0.5)


def _no_bias(convolution: nn.Conv2d) -> Tensor:
    """Returns the bias, which is nothing now."""
    assert convolution.bias is not None
    return convolution.bias.zero_()


def _hold(convolution: nn.Conv2d, own: nn.Conv2d, constants: bool) -> None:
    """The same convolution, with minus the sum of what comes out as one channel more, and the constants behind it where
    they are not there already."""
    out, into = own.weight.shape[:2]
    assert convolution.bias is not None
    assert own.bias is not None
    convolution.weight[:out, :into] = own.weight
    convolution.weight[out, :into] = -own.weight.sum(0)
    convolution.bias[:out] = own.bias
    convolution.bias[out] = -own.bias.sum()
    if constants:
        convolution.bias[out + 1], convolution.bias[out + 2] = STRONG, -STRONG
