"""Latents -> frames, one piece after the other, so that memory does not grow with the length of a video."""

from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

from atelier.contracts.errors import EngineFailed
from shared.worker.engine import Phase, Report, Step
from wan_service.mp4 import FrameSink


@torch.no_grad()
def decode(vae: Any, latents: torch.Tensor, report: Report, take: FrameSink) -> None:
    """Hands over frame after frame, each of height x width x 3 bytes, as soon as it is decoded."""
    latents = _unscaled(vae, latents.to(vae.dtype))
    done, total = 0, latents.shape[2]

    def before_piece(*_: Any) -> None:
        nonlocal done
        report(Step(Phase.DECODING, done, total))
        done += 1

    def after_piece(_: Any, inputs: Any, piece: torch.Tensor) -> torch.Tensor:
        for frame in _pixels(vae, piece):
            take(frame)
        return piece[:, :, :0]  # `decode` joins what it is given: nothing, so that memory does not grow with the length

    hooks = [vae.decoder.register_forward_pre_hook(before_piece), vae.decoder.register_forward_hook(after_piece)]
    try:
        vae.decode(latents)
    finally:
        for hook in hooks:
            hook.remove()
        vae.clear_cache()  # of pieces that later ones build on: large, and of no use to the next video


def _unscaled(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """The latents as the decoder takes them, computed as the pipeline does."""
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    return latents / (1.0 / std.to(latents)) + mean.to(latents)


def _pixels(vae: Any, piece: torch.Tensor) -> Iterator[bytes]:
    """The frames of what the decoder makes of one latent frame: 1 for the first, 4 for any other."""
    video = unpatchify(piece, vae.config.patch_size or 1)[0].transpose(0, 1)
    if not torch.isfinite(video).all():
        raise EngineFailed("the model computed no picture but not-a-numbers; another dtype may help")
    for frame in video:
        scaled = frame.mul(127.5).add_(127.5).round_().clamp_(0, 255)
        yield scaled.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy().tobytes()
