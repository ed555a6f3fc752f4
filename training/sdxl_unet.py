"""The UNet of the small SDXL, trained on latents that `Patches` takes from scenes drawn at a quarter of the size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn

from atelier.small_models import sdxl_trained
from training import checkpoints
from training.captions import caption, prompt
from training.clip_words import ClipWords
from training.latent_pool import LatentPool
from training.painting import Painter
from training.patches import CELL, PATCH, Patches
from training.scenes import scene
from training.sprites import Sprites
from training.task import Device, generator
from training.windows import Window, weights, window


@dataclass(frozen=True)
class Kind:
    """Rows of one kind: the picture's size, how much of it is seen, rows a step, share of the steps early and later."""

    width: int
    height: int
    seen_width: int
    seen_height: int
    rows: int
    early: float
    later: float


# Windows teach objects, whole pictures layout and what a picture looks like as one. Other shapes come late.
KINDS: Final[tuple[Kind, ...]] = (
    Kind(1024, 1024, 512, 512, 32, 0.50, 0.40),
    Kind(1024, 1024, 1024, 1024, 12, 0.50, 0.40),
    Kind(1152, 896, 1152, 896, 8, 0.00, 0.04),
    Kind(896, 1152, 896, 1152, 8, 0.00, 0.04),
    Kind(1216, 832, 1216, 832, 8, 0.00, 0.03),
    Kind(832, 1216, 832, 1216, 8, 0.00, 0.03),
    Kind(1344, 768, 1344, 768, 8, 0.00, 0.02),
    Kind(768, 1344, 768, 1344, 8, 0.00, 0.02),
    Kind(1536, 640, 1536, 640, 8, 0.00, 0.01),
    Kind(640, 1536, 640, 1536, 8, 0.00, 0.01),
)
EARLY_STEPS: Final[int] = 4000
REUSE: Final[int] = 8  # how many rows are made of a scene, on average
COPIES: Final[int] = 2  # of them in one step, with one caption: text costs a third of a step otherwise
POOL: Final[int] = 8192  # latents of a size at most: 270 MB at 1024x1024
POOL_AT_FIRST: Final[int] = 64
MAX_SNR: Final[float] = 5.0
# Windows learn how things look, mostly from moments of little noise; whole pictures what stands where, from much.
WINDOW_MOMENTS: Final[tuple[float, float]] = (0.0, 0.7)
WHOLE_MOMENTS: Final[tuple[float, float]] = (0.35, 1.0)
P_ANY_MOMENT: Final[float] = 0.15
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
    """One step's kind, new scenes for its pool, and their latents."""

    kind: int
    seeds: np.ndarray
    latents: np.ndarray


class SdxlUnet:
    """The pipeline's `unet`. Its text encoders are those of `sdxl-words` and stand still."""

    name = "sdxl-unet"
    learning_rate = 8e-4

    def __init__(self, sprites: Sprites, device: Device, patches: Patches, folder: Path) -> None:
        self._sprites, self._device, self._patches, self._folder = sprites, device, patches, folder
        self.words = ClipWords(folder / "clip")
        torch.manual_seed(1)
        self.unet: UNet2DConditionModel = sdxl_trained.unet()
        self.text_encoder, self.text_encoder_2 = sdxl_trained.text_encoders(self.words.size)
        checkpoints.load_averaged(
            folder / "sdxl-words.pt", {"text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}
        )
        for encoder in (self.text_encoder, self.text_encoder_2):
            encoder.requires_grad_(False)
        self._signal = sdxl_trained.scheduler().alphas_cumprod.to(device.torch)
        self._pools: dict[tuple[int, int], LatentPool] = {}

    def modules(self) -> Mapping[str, nn.Module]:
        return {"unet": self.unet, "text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}

    def draw(self, step: int) -> Drawn:
        shares = np.array([kind.early if step < EARLY_STEPS else kind.later for kind in KINDS])
        number = int(np.random.default_rng((7, step)).choice(len(KINDS), p=shares / shares.sum()))
        kind = KINDS[number]
        seeds = step * 256 + np.arange(max(1, kind.rows * self._device.scale // REUSE))
        return Drawn(number, seeds, self._painted(kind, seeds))

    def samples(self, batch: Drawn) -> int:
        return KINDS[batch.kind].rows * self._device.scale

    def loss(self, batch: Drawn, step: int) -> Tensor:
        rng = np.random.default_rng((8, step))
        kind = KINDS[batch.kind]
        seeds, whole = self._latents(batch, rng)
        scenes = [scene(int(seed)) for seed in seeds]
        size, seen = (kind.width, kind.height), (kind.seen_width, kind.seen_height)
        windows = [window(drawn, size, seen, rng) for drawn in scenes for _ in range(COPIES)]
        latents = torch.from_numpy(_cut(whole, windows)).to(self._device.torch)
        counts = _cut(np.stack([weights(drawn, whole.shape[2:]) for drawn in scenes])[:, None], windows)
        noise = torch.randn(latents.shape, generator=generator(step)).to(latents)
        timesteps = self._moments(len(windows), WHOLE_MOMENTS if size == seen else WINDOW_MOMENTS, rng)
        signal = self._signal[timesteps].view(-1, 1, 1, 1)
        noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
        velocity = signal.sqrt() * noise - (1 - signal).sqrt() * latents
        prompts = [prompt(caption(drawn, rng), rng) for drawn in scenes]
        with self._device.autocast():
            text, pooled = (part.repeat_interleave(COPIES, 0) for part in self.encode(prompts, rng))
            predicted = self._predict(noisy, timesteps, text, pooled, [each.ids() for each in windows])
        snr = signal / (1 - signal)
        # All of the noisy moments count fully: there it is decided what a picture shows.
        weight = ((MAX_SNR + 1) / (snr + 1)).clamp(max=1) * torch.from_numpy(counts / counts.mean()).to(latents)
        error: Tensor = (predicted.float() - velocity).square() * weight
        return error.mean()

    @torch.no_grad()
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
        """Returns latents: the pipeline's own loop, with Euler steps."""
        scheduler: EulerDiscreteScheduler = sdxl_trained.scheduler()
        scheduler.set_timesteps(steps, device=self._device.torch)
        text, pooled = self.encode([*([None] * len(prompts)), *prompts])
        shape = (len(prompts), sdxl_trained.LATENT_CHANNELS, side // PATCH, side // PATCH)
        latents = torch.randn(shape, generator=generator(seed)).to(self._device.torch) * scheduler.init_noise_sigma
        ids = [Window(side, side, 0, 0, side, side).ids()] * (2 * len(prompts))
        for timestep in scheduler.timesteps:
            both = scheduler.scale_model_input(torch.cat([latents, latents]), timestep)
            without, given = self._predict(both, timestep, text, pooled, ids).chunk(2)
            latents = scheduler.step(without + guidance * (given - without), timestep, latents).prev_sample
        return np.asarray(latents.cpu().numpy())

    def grid(self) -> Image.Image:
        """The prompts of `GRID_PROMPTS`, row by row, as plain as their latents are without a decoder."""
        latents = self.generate(GRID_PROMPTS, 1024, 10, 5.0)
        pictures = [self._patches.cells(row) for row in latents]
        rows = [np.concatenate(pictures[row : row + 6], 1) for row in range(0, len(pictures), 6)]
        return Image.fromarray(np.concatenate(rows))

    def _moments(self, count: int, among: tuple[float, float], rng: np.random.Generator) -> Tensor:
        """One from each of as many equal parts of `among`, a share of the schedule: the loss then varies less from step
        to step. They are in no order, as rows of one scene stand side by side. Now and then, one from anywhere."""
        low, high = among
        shares = low + (high - low) * rng.permutation((np.arange(count) + rng.random(count)) / count)
        shares = np.where(rng.random(count) < P_ANY_MOMENT, rng.random(count), shares)
        moments = np.clip(shares * 1000, 0, 999).astype(np.int64)
        return torch.from_numpy(moments).to(self._device.torch)

    def _predict(
        self, noisy: Tensor, timesteps: Tensor, text: Tensor, pooled: Tensor, ids: Sequence[Sequence[int]]
    ) -> Tensor:
        added = {"text_embeds": pooled, "time_ids": torch.tensor(ids).to(noisy)}
        predicted: Tensor = self.unet(
            noisy, timesteps, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False
        )[0]
        return predicted

    def _latents(self, batch: Drawn, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        kind = KINDS[batch.kind]
        pool = self._pool(kind)
        pool.add(batch.seeds, batch.latents)
        while len(pool) < POOL_AT_FIRST:
            seeds = (1 << 32) + len(pool) + np.arange(8)
            pool.add(seeds, self._painted(kind, seeds))
        return pool.sample(rng, kind.rows * self._device.scale // COPIES)

    def _painted(self, kind: Kind, seeds: np.ndarray) -> np.ndarray:
        painter = Painter(self._sprites, kind.width // CELL, kind.height // CELL, smooth=2)
        pictures = [np.asarray(painter.paint(scene(int(seed)))) for seed in seeds]
        return np.stack([self._patches.latents(picture) for picture in pictures])

    def _pool(self, kind: Kind) -> LatentPool:
        size = (kind.width, kind.height)
        if size not in self._pools:
            shape = (sdxl_trained.LATENT_CHANNELS, kind.height // PATCH, kind.width // PATCH)
            name = f"{kind.width}x{kind.height}"
            self._pools[size] = LatentPool(self._folder / "sdxl-latents", name, shape, POOL)
        return self._pools[size]


def _cut(whole: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
    """[scenes, channels, rows, columns] -> what `COPIES` windows a scene see of it."""
    cut = [whole[number // COPIES][(slice(None), *seen.positions())] for number, seen in enumerate(windows)]
    return np.stack(cut)
