"""The VAE of the small Wan: encoder and decoder together at first, then the decoder alone."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from training.latent_scale import fold
from training.painting import Painter
from training.scenes import clip
from training.sprites import Sprites
from training.task import Device, generator

# Width, height, frames, clips a step, how often.
SIZES: Final[tuple[tuple[int, int, int, int, float], ...]] = (
    (192, 192, 1, 8, 0.3),
    (256, 256, 1, 4, 0.1),
    (160, 256, 5, 2, 0.2),
    (256, 160, 5, 2, 0.2),
    (192, 192, 9, 1, 0.1),
    (480, 832, 1, 1, 0.1),
)
SEED: Final[int] = 1 << 42
KL_WEIGHT: Final[float] = 2e-3
DECODER_LATENT_NOISE: Final[float] = 0.05


class WanVae:
    """With `decoder_only`, the encoder stands still, so that latents keep their meaning."""

    def __init__(self, sprites: Sprites, device: Device, vae: AutoencoderKLWan, decoder_only: bool) -> None:
        self._sprites, self._device, self.vae, self._decoder_only = sprites, device, vae, decoder_only
        self.name = "wan-decoder" if decoder_only else "wan-vae"
        self.learning_rate = 4e-4 if decoder_only else 5e-4
        for part in (vae.encoder, vae.quant_conv):
            part.requires_grad_(not decoder_only)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"vae": self.vae}

    def draw(self, step: int) -> np.ndarray:
        rng = np.random.default_rng((SEED, step))
        width, height, frames, count, _ = SIZES[int(rng.choice(len(SIZES), p=[size[4] for size in SIZES]))]
        seeds = SEED + step * 1024 + np.arange(count * self._device.scale)
        # Parts of clips as well as whole ones: the VAE sees four frames at a time, at any speed of motion.
        return np.stack(
            [frames_of(self._sprites, int(seed), width, height, frames, 0.1 + 0.9 * rng.random()) for seed in seeds]
        )

    def samples(self, batch: np.ndarray) -> int:
        return len(batch)

    def loss(self, batch: np.ndarray, step: int) -> Tensor:
        pixels = to_video(batch, self._device)
        with self._device.autocast(), torch.set_grad_enabled(not self._decoder_only):
            posterior = self.vae.encode(pixels).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator(step)).to(pixels)
        spread = DECODER_LATENT_NOISE if self._decoder_only else posterior.std
        with self._device.autocast():
            drawn = decode_unclamped(self.vae, posterior.mean + spread * noise).float()
        loss = _clip_loss(drawn, pixels)
        if self._decoder_only:
            return loss
        return loss + KL_WEIGHT * kl(posterior.mean.float(), posterior.logvar.float())

    def grid(self) -> Image.Image:
        """Three stills and the frames of a clip, above what the VAE makes of them."""
        columns = []
        for seed, frames in ((1, 1), (2, 1), (3, 1), (4, 5), (5, 5)):
            originals = frames_of(self._sprites, SEED - seed, 256, 256, frames, 1.0)
            latents = self.vae.encode(to_video(originals[None], self._device)).latent_dist.mean
            drawn = to_frames(self.vae.decode(latents).sample)[0]
            shown = [0] if frames == 1 else [0, 2, 4]
            columns += [np.concatenate([originals[frame], drawn[frame]]) for frame in shown]
        return Image.fromarray(np.concatenate(columns, 1))


def frames_of(sprites: Sprites, seed: int, width: int, height: int, frames: int, length: float) -> np.ndarray:
    """Returns [frames, height, width, 3]: the first `length` of the seed's clip."""
    made = clip(seed)
    painter = Painter(sprites, width, height, smooth=2)
    moments = np.linspace(0, length, frames) if frames > 1 else [0.0]
    return np.stack([np.asarray(painter.paint(made.at(float(moment)))) for moment in moments])


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
    """L1 at full size and of 4x and 16x means in space."""
    loss = F.l1_loss(drawn, wanted)
    for size in (4, 16):
        window = (1, size, size)
        loss = loss + 0.5 * F.l1_loss(F.avg_pool3d(drawn, window), F.avg_pool3d(wanted, window))
    return loss


@torch.no_grad()
def normalise(vae: AutoencoderKLWan, sprites: Sprites, device: Device, count: int = 32) -> None:
    """Bring every latent channel to mean 0 and deviation 1, by changing the two 1x1x1 convolutions around them."""
    found = []
    for seed in range(count):
        frames = frames_of(sprites, SEED - 100 - seed, 256, 256, (1, 5)[seed % 2], 0.3)
        found.append(vae.encode(to_video(frames[None], device)).latent_dist.mean.flatten(2)[0])
    every = torch.cat(found, 1)
    fold(vae.quant_conv, vae.post_quant_conv, every.mean(1), every.std(1))


def kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """Divergence from a standard normal distribution, a mean over all latents."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
