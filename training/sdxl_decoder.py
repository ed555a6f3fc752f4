"""The second part of the VAE's training: the encoder stands still, the decoder gets better for as long as it likes."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn

from training.latent_scale import fold
from training.painting import Painter
from training.scenes import crowd, scene
from training.sdxl_vae import SdxlVae, picture_loss, to_pixels
from training.sprites import Sprites
from training.task import Device, generator

SIZES: Final[tuple[tuple[int, int, int, float], ...]] = (
    (256, 256, 8, 0.2),
    (384, 384, 4, 0.25),
    (512, 512, 2, 0.25),
    (640, 448, 2, 0.1),
    (448, 640, 2, 0.1),
    (768, 768, 1, 0.05),
    (1024, 1024, 1, 0.05),
)
# Latents from a UNet are not quite those of a picture.
LATENT_NOISE: Final[float] = 0.05
SEED: Final[int] = 1 << 41


class SdxlDecoder:
    """Trains `decoder` and `post_quant_conv` of a VAE whose latents are normalised."""

    name = "sdxl-decoder"
    learning_rate = 4e-4

    def __init__(self, sprites: Sprites, device: Device, vae: AutoencoderKL) -> None:
        self._sprites, self._device = sprites, device
        self.vae = vae.requires_grad_(False)
        for part in (vae.decoder, vae.post_quant_conv):
            part.requires_grad_(True)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"vae": self.vae}

    def draw(self, step: int) -> np.ndarray:
        rng = np.random.default_rng((SEED, step))
        width, height, count, _ = SIZES[int(rng.choice(len(SIZES), p=[size[3] for size in SIZES]))]
        painter = Painter(self._sprites, width, height, smooth=2 if max(width, height) <= 512 else 1)
        seeds = SEED + step * 1024 + np.arange(count * self._device.scale)
        return np.stack([np.asarray(painter.paint((crowd if seed % 2 else scene)(int(seed)))) for seed in seeds])

    def samples(self, batch: np.ndarray) -> int:
        return len(batch)

    def loss(self, batch: np.ndarray, step: int) -> Tensor:
        pixels = to_pixels(batch, self._device)
        with self._device.autocast():
            with torch.no_grad():
                latents = self.vae.encode(pixels).latent_dist.mean
            noise = torch.randn(latents.shape, generator=generator(step)).to(pixels)
            drawn = self.vae.decode(latents + LATENT_NOISE * noise).sample
        return picture_loss(drawn.float(), pixels)

    def grid(self) -> Image.Image:
        return reconstructions(self.vae, self._sprites, self._device)


def reconstructions(vae: AutoencoderKL, sprites: Sprites, device: Device) -> Image.Image:
    """Originals above what the VAE makes of them, at 256 to 1024 pixels."""
    return SdxlVae(sprites, device, vae).grid()


@torch.no_grad()
def normalise(vae: AutoencoderKL, sprites: Sprites, device: Device, count: int = 48) -> None:
    """Bring every latent channel of `count` scenes to mean 0 and deviation 1, by changing the two 1x1 convolutions
    around the latents: a pipeline then needs no scaling factor, and no sampler a shift."""
    found = []
    for seed in range(count):
        side = (512, 768, 1024)[seed % 3]
        picture = np.asarray(Painter(sprites, side, side).paint(scene(SEED - 1 - seed)))
        latents = vae.encode(to_pixels(picture[None], device)).latent_dist.mean
        found.append(latents.flatten(2)[0, :, :: side * side // 262144])  # as many positions of each size
    every = torch.cat(found, 1)
    fold(vae.quant_conv, vae.post_quant_conv, every.mean(1), every.std(1))
