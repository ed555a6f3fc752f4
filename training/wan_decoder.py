"""The decoder of the small Wan, trained on parts of clips at their full size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from training.clip_patches import CELL, ClipPatches
from training.painting import Painter
from training.pictures import EDGE_WEIGHT
from training.scenes import clip
from training.sprites import Sprites
from training.task import Device, generator
from training.windows import window

# How much of a frame is seen, frames, parts a step, how often. RMS norm looks at one position at a time, so parts of
# clips teach what whole ones are.
PARTS: Final[tuple[tuple[int, int, int, float], ...]] = ((240, 1, 4, 0.25), (160, 5, 2, 0.5), (160, 9, 1, 0.25))
SIZES: Final[tuple[tuple[int, int], ...]] = ((832, 480), (480, 832))
STEP: Final[float] = 1 / 82  # from frame to frame of a default clip
FASTEST: Final[float] = 4.0  # times that
LATENT_NOISE: Final[float] = 0.15
SEED: Final[int] = 1 << 46


@dataclass(frozen=True)
class Parts:
    """Clips as [clips, frames, height, width, 3] uint8, and their latents."""

    frames: np.ndarray
    latents: np.ndarray


class WanDecoder:
    """Trains `decoder` and `post_quant_conv` of a VAE whose encoder stands still."""

    name = "wan-decoder"
    learning_rate = 4e-4

    def __init__(self, sprites: Sprites, device: Device, vae: AutoencoderKLWan, patches: ClipPatches) -> None:
        self._sprites, self._device, self._patches = sprites, device, patches
        self.vae = vae.requires_grad_(False)
        for part in (vae.decoder, vae.post_quant_conv):
            part.requires_grad_(True)
        for parameter in vae.decoder.mid_block.attentions.parameters():
            parameter.requires_grad_(False)  # it is silent: attention would see a part as a whole frame

    def modules(self) -> Mapping[str, nn.Module]:
        return {"vae": self.vae}

    def draw(self, step: int) -> Parts:
        rng = np.random.default_rng((SEED, step))
        side, frames, count, _ = PARTS[int(rng.choice(len(PARTS), p=[part[3] for part in PARTS]))]
        seeds = SEED + step * 1024 + np.arange(count * self._device.scale)
        return self._parts([self._part(int(seed), side, frames, rng) for seed in seeds])

    def samples(self, batch: Parts) -> int:
        return len(batch.frames)

    def loss(self, batch: Parts, step: int) -> Tensor:
        pixels = to_video(batch.frames, self._device)
        latents = torch.from_numpy(batch.latents).to(pixels)
        random = generator(step)
        strength = LATENT_NOISE * torch.rand((len(latents), 1, 1, 1, 1), generator=random)
        noise = strength * torch.randn(latents.shape, generator=random)
        with self._device.autocast():
            drawn = decode_unclamped(self.vae, latents + noise.to(pixels)).float()
        return _clip_loss(drawn, pixels)

    def grid(self) -> Image.Image:
        """Two stills and three frames of two clips, above what the decoder makes of them."""
        columns = []
        for number, frames in enumerate((1, 1, 5, 5)):
            part = self._parts([self._part(SEED - 1 - number, 240, frames, np.random.default_rng(number))])
            latents = torch.from_numpy(part.latents).to(self._device.torch)
            drawn = to_frames(self.vae.decode(latents).sample)[0]
            shown = [0] if frames == 1 else [0, 2, 4]
            columns += [np.concatenate([part.frames[0, frame], drawn[frame]]) for frame in shown]
        return Image.fromarray(np.concatenate(columns, 1))

    def _parts(self, clips: list[np.ndarray]) -> Parts:
        return Parts(np.stack(clips), np.stack([self._patches.latents(cells_of(frames)) for frames in clips]))

    def _part(self, seed: int, side: int, frames: int, rng: np.random.Generator) -> np.ndarray:
        size = SIZES[int(rng.integers(len(SIZES)))]
        made, step = clip(seed), STEP * float(rng.uniform(1, FASTEST))
        start = float(rng.uniform(0, 1 - step * (frames - 1)))
        seen = window(made.at(start), size, (side, side), rng)
        corner = (seen.left // 16 * 16, seen.top // 16 * 16)
        painter = Painter(self._sprites, *size, smooth=2, seen=(*corner, corner[0] + side, corner[1] + side))
        return np.stack([np.asarray(painter.paint(made.at(start + step * frame))) for frame in range(frames)])


def cells_of(frames: np.ndarray) -> np.ndarray:
    """[frames, height, width, 3] uint8 -> means of 4x4 pixels from -1 to 1."""
    count, height, width, _ = frames.shape
    cells = frames.reshape(count, height // CELL, CELL, width // CELL, CELL, 3).mean((2, 4))
    return np.asarray(cells / 127.5 - 1)


def small_frames(sprites: Sprites, seed: int, width: int, height: int, frames: int) -> np.ndarray:
    """The seed's whole clip as cells: drawn at a quarter of its size."""
    made = clip(seed)
    painter = Painter(sprites, width // CELL, height // CELL, smooth=2)
    moments = np.linspace(0, 1, frames) if frames > 1 else [0.0]
    painted = [np.asarray(painter.paint(made.at(float(moment))), np.float32) for moment in moments]
    return np.stack(painted) / 127.5 - 1


def to_video(frames: np.ndarray, device: Device) -> Tensor:
    """[clips, frames, height, width, 3] uint8 -> [clips, 3, frames, height, width] from -1 to 1."""
    return torch.tensor(frames).to(device.torch).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def to_frames(video: Tensor) -> np.ndarray:
    """The way back, clamped."""
    numbers = ((video.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 4, 1)
    return np.asarray(numbers.cpu().numpy())


def decode_unclamped(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """What `vae.decode` does, without its clamp at the end: a clamped pixel would have no gradient to come back by."""
    vae.clear_cache()
    latents = vae.post_quant_conv(latents)
    parts = []
    for frame in range(latents.shape[2]):
        vae._conv_idx = [0]
        parts.append(
            vae.decoder(
                latents[:, :, frame : frame + 1],
                feat_cache=vae._feat_map,
                feat_idx=vae._conv_idx,
                first_chunk=frame == 0,
            )
        )
    vae.clear_cache()
    return unpatchify(torch.cat(parts, 2), vae.config.patch_size)  # type: ignore[no-any-return]


def _clip_loss(drawn: Tensor, wanted: Tensor) -> Tensor:
    """L1 at full size, of 4x means, and of the steps between pixels beside each other."""
    error = drawn - wanted
    steps = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 0.5 * F.avg_pool3d(error, (1, 4, 4)).abs().mean() + EDGE_WEIGHT * steps
