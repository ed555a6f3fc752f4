"""What VACE is given beside the noise, made as `WanVACEPipeline` makes it: kept frames, a mask, reference pictures."""

from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.small_models.wan_trained import SPATIAL, TEMPORAL
from training.clip_patches import CELL, ClipPatches

# Reference modes, and how often a clip is trained with each.
MODES: Final[dict[str, float]] = {"none": 0.45, "start": 0.2, "end": 0.12, "both": 0.12, "single": 0.11}


def mode_of(seed: int, frames: int) -> str:
    """The mode a clip is trained with; a still has no frames to give."""
    if frames == 1:
        return "none"
    return str(np.random.default_rng((seed, 5)).choice(list(MODES), p=list(MODES.values())))


def latent_frames(frames: int) -> int:
    return (frames - 1) // TEMPORAL + 1


def encoded(patches: ClipPatches, cells: np.ndarray, mode: str, moment: int) -> np.ndarray:
    """Returns one clip's latents, those of its kept frames, and that of its reference picture (frame `moment`), joined
    in time: [channels, 2 x latent frames + 1, h, w]. What a mode lacks is the latent of grey, or nothing (zeros)."""
    clean = patches.latents(cells)
    kept = np.zeros_like(cells)
    keep = {"start": [0], "end": [-1], "both": [0, -1]}.get(mode, [])
    kept[keep] = cells[keep]
    given = patches.latents(cells[moment : moment + 1])
    reference = given if mode == "single" else np.zeros_like(given)
    return np.concatenate([clean, patches.latents(kept), reference], 1)


def grey(patches: ClipPatches, frames: int, height: int, width: int) -> Tensor:
    """The latents of a video in which nothing is kept. What is to be made is given to VACE as grey too."""
    found = patches.latents(np.zeros((1, SPATIAL // CELL, SPATIAL // CELL, 3)))
    size = (latent_frames(frames), height // SPATIAL, width // SPATIAL)
    return torch.from_numpy(found)[None].expand(1, -1, *size)


def masks(mode: str, frames: int, height: int, width: int) -> Tensor:
    """Returns [256, latent frames, h, w]: the mask of every pixel, 0 to keep, as channels of its position.

    Times are picked as the pipeline picks them, which misses a single first or last frame: what is kept is then said by
    the kept latents alone.
    """
    mask = torch.ones(frames, height, width)
    mask[{"start": [0], "end": [-1], "both": [0, -1]}.get(mode, [])] = 0
    mask = mask.view(frames, height // SPATIAL, SPATIAL, width // SPATIAL, SPATIAL).permute(2, 4, 0, 1, 3).flatten(0, 1)
    size = (latent_frames(frames), height // SPATIAL, width // SPATIAL)
    return F.interpolate(mask[None], size=size, mode="nearest-exact")[0]


def control(kept: Tensor, grey_latents: Tensor, mask: Tensor, reference: Tensor | None) -> Tensor:
    """Returns [rows, 2 x channels + 256, frames, h, w]; a reference goes in front, with a mask that keeps it."""
    if reference is None:
        return torch.cat([kept, grey_latents, mask], 1)
    nothing = torch.zeros_like(reference)
    kept = torch.cat([reference, kept], 2)
    grey_latents = torch.cat([nothing, grey_latents], 2)
    mask = torch.cat([torch.zeros_like(mask[:, :, :1]), mask], 2)
    return torch.cat([kept, grey_latents, mask], 1)
