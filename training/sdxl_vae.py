"""The VAE of the small SDXL: first encoder and decoder together, then the decoder alone.

Once the encoder stands still, latents keep their meaning, so the UNet can learn while the decoder still gets better.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from training.painting import Painter
from training.scenes import crowd, scene
from training.sprites import Sprites
from training.task import Device, generator

# Width, height, pictures a step, how often. Whole scenes, never crops: group norm takes a crop for a whole picture,
# and then whole pictures come out in the wrong colours. Small ones cost a sixteenth and teach almost as much.
SIZES: Final[tuple[tuple[int, int, int, float], ...]] = (
    (192, 192, 6, 0.35),
    (256, 256, 4, 0.35),
    (256, 160, 4, 0.1),
    (160, 256, 4, 0.1),
    (448, 448, 1, 0.1),
)
KL_WEIGHT: Final[float] = 2e-3
SEED: Final[int] = 1 << 40  # scenes of other seeds than the UNet's and the tests'


class SdxlVae:
    """Encoder and decoder together."""

    name = "sdxl-vae"
    learning_rate = 5e-4

    def __init__(self, sprites: Sprites, device: Device, vae: AutoencoderKL) -> None:
        self._sprites, self._device, self.vae = sprites, device, vae

    def modules(self) -> Mapping[str, nn.Module]:
        return {"vae": self.vae}

    def draw(self, step: int) -> np.ndarray:
        rng = np.random.default_rng((SEED, step))
        width, height, count, _ = SIZES[int(rng.choice(len(SIZES), p=[size[3] for size in SIZES]))]
        painter = Painter(self._sprites, width, height, smooth=2)
        seeds = SEED + step * 1024 + np.arange(count * self._device.scale)
        return np.stack([np.asarray(painter.paint((crowd if seed % 2 else scene)(int(seed)))) for seed in seeds])

    def samples(self, batch: np.ndarray) -> int:
        return len(batch)

    def loss(self, batch: np.ndarray, step: int) -> Tensor:
        pixels = to_pixels(batch, self._device)
        with self._device.autocast():
            posterior = self.vae.encode(pixels).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator(step)).to(pixels)
            drawn = self.vae.decode(posterior.mean + posterior.std * noise).sample
        return picture_loss(drawn.float(), pixels) + KL_WEIGHT * kl(posterior.mean.float(), posterior.logvar.float())

    def grid(self) -> Image.Image:
        """Originals above what the VAE makes of them; the last two at 512 and 1024."""
        columns = []
        for seed, side in ((1, 256), (2, 256), (3, 256), (4, 384), (5, 384), (6, 512), (7, 512), (8, 1024)):
            painter = Painter(self._sprites, side, side, smooth=2 if side < 512 else 1)
            original = np.asarray(painter.paint(scene(SEED - seed)))
            pixels = to_pixels(original[None], self._device)
            drawn = to_pictures(self.vae.decode(self.vae.encode(pixels).latent_dist.mean).sample)[0]
            both = [Image.fromarray(picture).resize((256, 256)) for picture in (original, drawn)]
            columns.append(np.concatenate([np.asarray(picture) for picture in both]))
        return Image.fromarray(np.concatenate(columns, 1))


def to_pixels(pictures: np.ndarray, device: Device) -> Tensor:
    """[count, height, width, 3] uint8 -> [count, 3, height, width] from -1 to 1."""
    return torch.tensor(pictures).to(device.torch).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pictures(pixels: Tensor) -> np.ndarray:
    """The way back, clamped."""
    numbers = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
    return np.asarray(numbers.cpu().numpy())


def picture_loss(drawn: Tensor, wanted: Tensor) -> Tensor:
    """L1 at full size and of 4x and 16x means: the means pull whole areas to their colour early on."""
    loss = F.l1_loss(drawn, wanted)
    for size in (4, 16):
        loss = loss + 0.5 * F.l1_loss(F.avg_pool2d(drawn, size), F.avg_pool2d(wanted, size))
    return loss


def kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """Divergence from a standard normal distribution, a mean over all latents."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
