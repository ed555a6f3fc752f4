"""Pictures as networks see them, and how far apart two are."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.task import Device

EDGE_WEIGHT = 0.5


def to_pixels(pictures: np.ndarray, device: Device) -> Tensor:
    """[count, height, width, 3] uint8 -> [count, 3, height, width] from -1 to 1."""
    return torch.tensor(pictures).to(device.torch).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pictures(pixels: Tensor) -> np.ndarray:
    """The way back, clamped."""
    numbers = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
    return np.asarray(numbers.cpu().numpy())


def picture_loss(drawn: Tensor, wanted: Tensor) -> Tensor:
    """L1 at full size, of 4x means, and of the steps between pixels beside each other, which makes edges sharp."""
    error = drawn - wanted
    steps = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 0.5 * F.avg_pool2d(error, 4).abs().mean() + EDGE_WEIGHT * steps
