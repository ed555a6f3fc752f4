"""The VACE transformer of the small Wan, trained with its text encoder on latents of the frozen VAE encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from PIL import Image
from torch import Tensor, nn

from atelier.small_models import wan_trained
from training.captions import clip_caption, prompt
from training.latent_pool import LatentPool
from training.scenes import clip
from training.sprites import Sprites
from training.task import Device, generator
from training.wan_conditions import control, encoded, grey, latent_frames, masks, mode_of
from training.wan_decoder import small_frames, to_frames
from training.wan_encoder import patches_of
from training.wan_words import WanWords

# Width, height, frames, rows a step, share of the steps early on and later. Attention grows with the square of the
# positions, so words, layout and motion are learnt small and short, and the full size only at the end.
SIZES: Final[tuple[tuple[int, int, int, int, float, float], ...]] = (
    (480, 832, 1, 4, 0.15, 0.12),
    (832, 480, 1, 4, 0.10, 0.08),
    (256, 448, 9, 8, 0.20, 0.10),
    (448, 256, 9, 8, 0.15, 0.10),
    (192, 320, 33, 4, 0.20, 0.15),
    (320, 192, 33, 4, 0.15, 0.15),
    (128, 224, 85, 3, 0.05, 0.10),
    (480, 832, 9, 2, 0.00, 0.10),
    (832, 480, 9, 2, 0.00, 0.06),
    (480, 832, 33, 1, 0.00, 0.03),
    (480, 832, 85, 1, 0.00, 0.01),
)
EARLY_STEPS: Final[int] = 4000
REUSE: Final[int] = 12
POOL: Final[int] = 2048
POOL_AT_FIRST: Final[int] = 24
GRID_PROMPTS: Final[tuple[str, ...]] = (
    "a fox moves to the left in the snow",
    "a red car moves to the right in the city at night",
    "a balloon rises in the mountains at sunset",
    "a ball bounces on the beach",
    "a castle stands while night falls in a meadow",
    "a frog gets bigger in the forest",
)


@dataclass(frozen=True)
class Drawn:
    """One step's size, and new clips for its pool, as their latents and conditions."""

    size: int
    seeds: np.ndarray
    latents: np.ndarray


class WanVace:
    """Transformer and text_encoder of the pipeline. `vae` is used, not trained."""

    name = "wan-vace"
    learning_rate = 8e-4

    def __init__(self, sprites: Sprites, device: Device, vae: AutoencoderKLWan, folder: Path) -> None:
        self._sprites, self._device, self._folder = sprites, device, folder
        self._vae = vae.to(device.torch).eval().requires_grad_(False)
        self._patches = patches_of(vae)
        self.words = WanWords()
        torch.manual_seed(1)
        self.transformer = wan_trained.transformer()
        self.text_encoder = wan_trained.text_encoder(len(self.words.tokenizer))
        self._pools: dict[int, LatentPool] = {}

    def modules(self) -> Mapping[str, nn.Module]:
        return {"transformer": self.transformer, "text_encoder": self.text_encoder}

    def draw(self, step: int) -> Drawn:
        shares = np.array([size[4] if step < EARLY_STEPS else size[5] for size in SIZES])
        size = int(np.random.default_rng((9, step)).choice(len(SIZES), p=shares / shares.sum()))
        count = max(1, SIZES[size][3] * self._device.scale // REUSE)
        if self._device.scale == 1 and step % REUSE >= SIZES[size][3]:
            count = 0  # as many new clips as `REUSE` says, where a step has fewer rows than that
        return self._paint(size, step * 256 + np.arange(count))

    def samples(self, batch: Drawn) -> int:
        return SIZES[batch.size][3] * self._device.scale

    def loss(self, batch: Drawn, step: int) -> Tensor:
        rng = np.random.default_rng((10, step))
        width, height, frames = SIZES[batch.size][:3]
        seeds, kept_latents = self._latents(batch, rng)
        mode = mode_of(int(seeds[0]), frames)  # one for all rows: a reference makes clips longer
        rows = [row for row, seed in enumerate(seeds) if mode_of(int(seed), frames) == mode]
        latents, seeds = kept_latents[rows], seeds[rows]
        count = latent_frames(frames)
        clean, kept, reference = torch.split(latents, [count, count, 1], 2)
        given = self._control(kept, mode, frames, height, width, reference)
        if mode == "single":
            clean = torch.cat([reference, clean], 2)
        noise = torch.randn(clean.shape, generator=generator(step)).to(clean)
        even = torch.from_numpy((np.arange(len(seeds)) + rng.random(len(seeds))) / len(seeds)).to(clean)
        shift = wan_trained.FLOW_SHIFT
        sigma = (shift * even / (1 + (shift - 1) * even)).view(-1, 1, 1, 1, 1)
        noisy = (1 - sigma) * clean + sigma * noise
        prompts = [prompt(clip_caption(clip(int(seed)), rng), rng) or "" for seed in seeds]
        with self._device.autocast():
            text = self.encode(prompts, rng)
            flow = self._predict(noisy, 1000 * sigma.flatten(), text, given)
        error: Tensor = flow.float() - (noise - clean)
        return error.square().mean()

    def encode(self, prompts: Sequence[str], rng: np.random.Generator | None = None) -> Tensor:
        """Returns [rows, 512, width] with zeros after the last token, as the pipeline makes them."""
        ids, mask = (part.to(self._device.torch) for part in self.words.numbers(prompts, rng))
        found = self.text_encoder(ids, mask).last_hidden_state * mask[..., None]
        return torch.nn.functional.pad(found, (0, 0, 0, wan_trained.MAX_TOKENS - found.shape[1]))

    @torch.no_grad()
    def generate(
        self, prompts: Sequence[str], width: int, height: int, frames: int, steps: int, guidance: float, seed: int = 0
    ) -> np.ndarray:
        """Returns [prompts, frames, height, width, 3] uint8: the pipeline's own loop, without references."""
        scheduler = wan_trained.scheduler()
        scheduler.set_timesteps(steps, device=self._device.torch)
        text = self.encode([*([""] * len(prompts)), *prompts])
        grey_latents = (
            grey(self._patches, frames, height, width).to(self._device.torch).repeat(2 * len(prompts), 1, 1, 1, 1)
        )
        given = self._control(grey_latents, "none", frames, height, width, None)
        latents = torch.randn((len(prompts), *grey_latents.shape[1:]), generator=generator(seed))
        latents = latents.to(self._device.torch)
        for timestep in scheduler.timesteps:
            both = torch.cat([latents, latents])
            without, asked = self._predict(both, timestep.expand(len(both)), text, given).chunk(2)
            latents = scheduler.step(without + guidance * (asked - without), timestep, latents).prev_sample
        return np.concatenate([to_frames(self._vae.decode(row[None]).sample) for row in latents])

    def grid(self) -> Image.Image:
        """A row a prompt of `GRID_PROMPTS`: five frames from first to last."""
        clips = self.generate(GRID_PROMPTS, 320, 192, 33, 12, 5.0)
        rows = [np.concatenate([frames[at] for at in (0, 8, 16, 24, 32)], 1) for frames in clips]
        return Image.fromarray(np.concatenate(rows))

    def _predict(self, noisy: Tensor, timesteps: Tensor, text: Tensor, given: Tensor) -> Tensor:
        predicted: Tensor = self.transformer(
            hidden_states=noisy,
            timestep=timesteps,
            encoder_hidden_states=text,
            control_hidden_states=given,
            return_dict=False,
        )[0]
        return predicted

    def _control(
        self, kept: Tensor, mode: str, frames: int, height: int, width: int, reference: Tensor | None
    ) -> Tensor:
        rows = len(kept)
        mask = masks(mode, frames, height, width).to(kept)[None].expand(rows, -1, -1, -1, -1)
        nothing = grey(self._patches, frames, height, width).to(kept).expand(rows, -1, -1, -1, -1)
        return control(kept, nothing, mask, reference if mode == "single" else None)

    def _latents(self, batch: Drawn, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
        pool = self._pool(batch.size)
        pool.add(batch.seeds, batch.latents)
        while len(pool) < POOL_AT_FIRST:
            more = self._paint(batch.size, (1 << 32) + len(pool) + np.arange(4))
            pool.add(more.seeds, more.latents)
        seeds, latents = pool.sample(rng, SIZES[batch.size][3] * self._device.scale)
        return seeds, torch.from_numpy(latents).to(self._device.torch)

    def _paint(self, size: int, seeds: np.ndarray) -> Drawn:
        width, height, frames = SIZES[size][:3]
        found = []
        for seed in map(int, seeds):
            cells = small_frames(self._sprites, seed, width, height, frames)
            found.append(encoded(self._patches, cells, mode_of(seed, frames), seed % frames))
        return Drawn(size, seeds, np.stack(found) if found else np.empty(0))

    def _pool(self, size: int) -> LatentPool:
        if size not in self._pools:
            width, height, frames = SIZES[size][:3]
            side = wan_trained.SPATIAL
            times = 2 * latent_frames(frames) + 1
            shape = (wan_trained.LATENT_CHANNELS, times, height // side, width // side)
            self._pools[size] = LatentPool(self._folder / "wan-latents", f"{width}x{height}x{frames}", shape, POOL)
        return self._pools[size]
