"""The decoder of the small SDXL, trained on parts of full-size pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from training.painting import Painter
from training.patches import Patches, means
from training.pictures import picture_loss, to_pictures, to_pixels
from training.plain_decoder import PlainDecoder
from training.scenes import crowd, scene
from training.sprites import Sprites
from training.task import Device, generator
from training.windows import window

SIDE: Final[int] = 1024
# How much of a picture is seen, parts a step, share of the steps.
PARTS: Final[tuple[tuple[int, int, float], ...]] = ((256, 4, 0.4), (384, 2, 0.6))
# Latents from a UNet are not quite those of a picture: noise of up to this deviation.
LATENT_NOISE: Final[float] = 0.15
SEED: Final[int] = 1 << 41


@dataclass(frozen=True)
class Parts:
    """Pictures and their latents."""

    pictures: np.ndarray
    latents: np.ndarray


class SdxlDecoder:
    """Trains a `PlainDecoder`."""

    name = "sdxl-decoder"
    learning_rate = 6e-4

    def __init__(self, sprites: Sprites, device: Device, patches: Patches) -> None:
        self._sprites, self._device, self._patches = sprites, device, patches
        torch.manual_seed(3)
        self.decoder = PlainDecoder(patches)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"decoder": self.decoder}

    def draw(self, step: int) -> Parts:
        rng = np.random.default_rng((SEED, step))
        side, count, _ = PARTS[int(rng.choice(len(PARTS), p=[part[2] for part in PARTS]))]
        seeds = SEED + step * 1024 + np.arange(count * self._device.scale)
        pictures = [self._part(int(seed), side, rng) for seed in seeds]
        return Parts(np.stack(pictures), np.stack([self._patches.latents(means(picture)) for picture in pictures]))

    def samples(self, batch: Parts) -> int:
        return len(batch.pictures)

    def loss(self, batch: Parts, step: int) -> Tensor:
        pixels = to_pixels(batch.pictures, self._device)
        latents = torch.from_numpy(batch.latents).to(pixels)
        random = generator(step)
        strength = LATENT_NOISE * torch.rand((len(latents), 1, 1, 1), generator=random)
        noise = strength * torch.randn(latents.shape, generator=random)
        with self._device.autocast():
            drawn = self.decoder(latents + noise.to(pixels))
        return picture_loss(drawn.float(), pixels)

    def grid(self) -> Image.Image:
        """Originals above what the decoder makes of their latents: parts at their own size, then whole pictures."""
        parts = [self._part(SEED - 1 - number, 256, np.random.default_rng(number)) for number in range(5)]
        painter = Painter(self._sprites, SIDE, SIDE, smooth=2)
        whole = [np.asarray(painter.paint(scene(SEED - 6 - number))) for number in range(3)]
        return Image.fromarray(np.concatenate([self._column(picture) for picture in [*parts, *whole]], 1))

    @torch.no_grad()
    def _column(self, original: np.ndarray) -> np.ndarray:
        latents = torch.from_numpy(self._patches.latents(means(original)))[None].to(self._device.torch)
        drawn = to_pictures(self.decoder(latents))[0]
        both = [Image.fromarray(picture).resize((256, 256)) for picture in (original, drawn)]
        return np.concatenate([np.asarray(picture) for picture in both])

    def _part(self, seed: int, side: int, rng: np.random.Generator) -> np.ndarray:
        drawn = (crowd if seed % 2 else scene)(seed)
        seen = window(drawn, (SIDE, SIDE), (side, side), rng)
        box = (seen.left, seen.top, seen.left + side, seen.top + side)
        return np.asarray(Painter(self._sprites, SIDE, SIDE, smooth=2, seen=box).paint(drawn))
