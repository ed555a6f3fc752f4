"""The UNet of the small SDXL, trained together with its two text encoders on latents of the frozen VAE encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn

from atelier.small_models import sdxl_trained
from training.captions import caption, prompt
from training.clip_words import ClipWords
from training.latent_pool import LatentPool
from training.painting import Painter
from training.scenes import scene
from training.sdxl_vae import to_pictures, to_pixels
from training.sprites import Sprites
from training.task import Device, generator

# Width and height, rows a step, share of the steps early on and later. Small pictures are cheap and teach words and
# layout; what a default picture looks like at its own size is learnt at the end.
SIZES: Final[tuple[tuple[int, int, int, float, float], ...]] = (
    (512, 512, 32, 0.50, 0.10),
    (768, 768, 16, 0.30, 0.20),
    (1024, 1024, 12, 0.20, 0.40),
    (1152, 896, 12, 0.00, 0.05),
    (896, 1152, 12, 0.00, 0.05),
    (1216, 832, 12, 0.00, 0.04),
    (832, 1216, 12, 0.00, 0.04),
    (1344, 768, 12, 0.00, 0.04),
    (768, 1344, 12, 0.00, 0.04),
    (1536, 640, 12, 0.00, 0.02),
    (640, 1536, 12, 0.00, 0.02),
)
EARLY_STEPS: Final[int] = 3000
REUSE: Final[int] = 8  # how many steps see a latent, on average
POOL: Final[int] = 6144  # latents of a size at most: 200 MB at 1024x1024
POOL_AT_FIRST: Final[int] = 64
MAX_SNR: Final[float] = 5.0
P_CLIP_SKIP: Final[float] = 0.1
GRID_PROMPTS: Final[tuple[str, ...]] = (
    "a fox in the snow, in golden evening light",
    "a cat on the beach",
    "a red car in the city at night",
    "a big rocket in the desert",
    "a blue balloon in the mountains",
    "a penguin in the snow at night",
    "a dog and a ball on the grass",
    "a castle on the left in the forest",
    "a green frog on the water",
    "a small house in the mountains at dawn",
    "a cactus on the right in the desert at sunset",
    "a cake and a pizza on the beach",
)


@dataclass(frozen=True)
class Drawn:
    """One step's size, new scenes for its pool, and the pictures of them."""

    size: int
    seeds: np.ndarray
    pictures: np.ndarray


class SdxlUnet:
    """UNet, text_encoder and text_encoder_2 of the pipeline. `vae` is used, not trained."""

    name = "sdxl-unet"
    learning_rate = 8e-4

    def __init__(self, sprites: Sprites, device: Device, vae: AutoencoderKL, folder: Path) -> None:
        self._sprites, self._device, self._folder = sprites, device, folder
        self._vae = vae.to(device.torch).eval().requires_grad_(False)
        self.words = ClipWords(folder / "clip")
        torch.manual_seed(1)
        self.unet: UNet2DConditionModel = sdxl_trained.unet()
        self.text_encoder, self.text_encoder_2 = sdxl_trained.text_encoders(self.words.size)
        self._signal = sdxl_trained.scheduler().alphas_cumprod.to(device.torch)
        self._pools: dict[int, LatentPool] = {}

    def modules(self) -> Mapping[str, nn.Module]:
        return {"unet": self.unet, "text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}

    def draw(self, step: int) -> Drawn:
        shares = np.array([size[3] if step < EARLY_STEPS else size[4] for size in SIZES])
        size = int(np.random.default_rng((7, step)).choice(len(SIZES), p=shares / shares.sum()))
        count = max(1, SIZES[size][2] * self._device.scale // REUSE)
        seeds = step * 256 + np.arange(count)
        return Drawn(size, seeds, self._paint(size, seeds))

    def samples(self, batch: Drawn) -> int:
        return SIZES[batch.size][2] * self._device.scale

    def loss(self, batch: Drawn, step: int) -> Tensor:
        rng = np.random.default_rng((8, step))
        seeds, latents = self._latents(batch, rng)
        noise = torch.randn(latents.shape, generator=generator(step)).to(latents)
        # One moment from each of as many equal parts of the schedule: the loss then varies less from step to step.
        moments = (np.arange(len(seeds)) + rng.random(len(seeds))) * 1000 / len(seeds)
        timesteps = torch.from_numpy(moments.astype(np.int64)).to(latents.device)
        signal = self._signal[timesteps].view(-1, 1, 1, 1)
        noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
        velocity = signal.sqrt() * noise - (1 - signal).sqrt() * latents
        prompts = [prompt(caption(scene(int(seed)), rng), rng) for seed in seeds]
        with self._device.autocast():
            text, pooled = self.encode(prompts, rng)
            predicted = self._predict(noisy, timesteps, text, pooled, SIZES[batch.size][:2])
        snr = (signal / (1 - signal)).flatten()
        # All of the noisy moments count fully: there it is decided what a picture shows.
        weight = ((MAX_SNR + 1) / (snr + 1)).clamp(max=1)
        error: Tensor = (predicted.float() - velocity).square().mean((1, 2, 3)) * weight
        return error.mean()

    def encode(self, prompts: Sequence[str | None], rng: np.random.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Returns (rows, 77, width) and (rows, pooled width), as the pipeline makes them; None is all zeros, as an
        empty negative prompt is in SDXL. With `rng`, clip skip is used now and then."""
        ids = [part.to(self._device.torch) for part in self.words.numbers([words or "" for words in prompts], rng)]
        layer = -2
        if rng is not None and rng.random() < P_CLIP_SKIP:
            layer -= int(rng.integers(1, 5))
        first = self.text_encoder(ids[0], output_hidden_states=True)
        second = self.text_encoder_2(ids[1], output_hidden_states=True)
        text = torch.cat([first.hidden_states[layer], second.hidden_states[layer]], -1)
        there = torch.tensor([words is not None for words in prompts], device=text.device).to(text.dtype)
        return text * there[:, None, None], second.text_embeds * there[:, None]

    @torch.no_grad()
    def generate(self, prompts: Sequence[str], side: int, steps: int, guidance: float, seed: int = 0) -> np.ndarray:
        """Returns pictures as [prompts, side, side, 3] uint8: the pipeline's own loop, with Euler steps."""
        scheduler: EulerDiscreteScheduler = sdxl_trained.scheduler()
        scheduler.set_timesteps(steps, device=self._device.torch)
        text, pooled = self.encode([*([None] * len(prompts)), *prompts])
        shape = (len(prompts), sdxl_trained.LATENT_CHANNELS, side // 32, side // 32)
        latents = torch.randn(shape, generator=generator(seed)).to(self._device.torch) * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            both = scheduler.scale_model_input(torch.cat([latents, latents]), timestep)
            without, given = self._predict(both, timestep, text, pooled, (side, side)).chunk(2)
            latents = scheduler.step(without + guidance * (given - without), timestep, latents).prev_sample
        return np.concatenate([to_pictures(self._vae.decode(row[None]).sample) for row in latents])

    def grid(self) -> Image.Image:
        """The prompts of `GRID_PROMPTS`, row by row."""
        pictures = self.generate(GRID_PROMPTS, 768, 16, 5.0)
        small = [np.asarray(Image.fromarray(picture).resize((256, 256))) for picture in pictures]
        rows = [np.concatenate(small[row : row + 6], 1) for row in range(0, len(small), 6)]
        return Image.fromarray(np.concatenate(rows))

    def _predict(self, noisy: Tensor, timesteps: Tensor, text: Tensor, pooled: Tensor, size: tuple[int, int]) -> Tensor:
        width, height = size
        ids = torch.tensor([[height, width, 0, 0, height, width]], device=noisy.device).repeat(len(noisy), 1)
        added = {"text_embeds": pooled, "time_ids": ids.to(noisy.dtype)}
        predicted: Tensor = self.unet(
            noisy, timesteps, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False
        )[0]
        return predicted

    def _latents(self, batch: Drawn, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
        pool = self._pool(batch.size)
        pool.add(batch.seeds, self._encoded(batch.pictures))
        while len(pool) < POOL_AT_FIRST:
            seeds = (1 << 32) + len(pool) + np.arange(8)
            pool.add(seeds, self._encoded(self._paint(batch.size, seeds)))
        seeds, latents = pool.sample(rng, SIZES[batch.size][2] * self._device.scale)
        return seeds, torch.from_numpy(latents).to(self._device.torch)

    @torch.no_grad()
    def _encoded(self, pictures: np.ndarray) -> np.ndarray:
        found = [self._vae.encode(to_pixels(picture[None], self._device)).latent_dist.mean for picture in pictures]
        return np.asarray(torch.cat(found).float().cpu().numpy())

    def _paint(self, size: int, seeds: np.ndarray) -> np.ndarray:
        width, height = SIZES[size][:2]
        painter = Painter(self._sprites, width, height)
        return np.stack([np.asarray(painter.paint(scene(int(seed)))) for seed in seeds])

    def _pool(self, size: int) -> LatentPool:
        if size not in self._pools:
            width, height = SIZES[size][:2]
            shape = (sdxl_trained.LATENT_CHANNELS, height // 32, width // 32)
            self._pools[size] = LatentPool(self._folder / "sdxl-latents", f"{width}x{height}", shape, POOL)
        return self._pools[size]
