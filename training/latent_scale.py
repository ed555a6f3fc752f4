"""Bringing latents to mean 0 and deviation 1 inside the VAE, so that no pipeline needs a factor or a shift."""

import torch
from torch import Tensor, nn

Convolution = nn.Conv2d | nn.Conv3d


@torch.no_grad()
def fold(quant: Convolution, post: Convolution, mean: Tensor, deviation: Tensor) -> None:
    """Change the 1x1 convolutions around the latents, `quant` (mean and log variance come out) and `post`, so that
    latents of this mean and deviation a channel are normalised, and decode to the same pictures."""
    channels = len(mean)
    shape = (-1, *([1] * (quant.weight.ndim - 1)))
    assert quant.bias is not None
    assert post.bias is not None
    quant.bias[:channels] = (quant.bias[:channels] - mean) / deviation
    quant.weight[:channels] /= deviation.view(shape)
    quant.bias[channels:] -= 2 * deviation.log()
    post.bias += post.weight.flatten(1) @ mean
    post.weight *= deviation.view(1, *shape[:-1])
