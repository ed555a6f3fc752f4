"""The small Wan's latents: a fixed linear map of 16x16 pixels in one frame or in four, as `Patches` is of one picture.

Frames are seen as means of 4x4 pixels; two by two of these, in two frames, are twelve features: mean colour, and its
steps to the right, down, and in time. A latent is a linear map of the eight such groups of its 16x16x4 pixels.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from atelier.small_models.wan_trained import LATENT_CHANNELS, TEMPORAL
from training.painting import Painter
from training.patches import COLOUR_POWER, COLOURS, DETAIL_POWER, STRONGEST_DETAIL, principal
from training.scenes import clip
from training.sprites import Sprites

CELL: Final[int] = 4
SQUARES: Final[int] = 4  # groups of 2x2 cells in a frame's 4x4: row, column
FEATURES: Final[int] = 4 * COLOURS  # mean, to the right, down, in time
WIDTH: Final[int] = SQUARES * FEATURES
SLOPES: Final[int] = COLOURS  # how the mean colour changes over the four frames
DETAILS: Final[int] = LATENT_CHANNELS - COLOURS - SLOPES
SEED: Final[int] = 1 << 45


@dataclass(frozen=True)
class ClipPatches:
    """`early` and `late` are [latents, square x feature] for the first and the second two of four frames; a first
    frame, alone, is told by their sum. `offset` is added."""

    early: np.ndarray
    late: np.ndarray
    offset: np.ndarray

    def latents(self, cells: np.ndarray) -> np.ndarray:
        """[frames, height, width, 3] from -1 to 1, a quarter of the full size -> [latents, frames, height, width]."""
        first = features(cells[:1], cells[:1]) @ (self.early + self.late).T
        parts = [first]
        for at in range(1, len(cells), TEMPORAL):
            a, b, c, d = (cells[frame : frame + 1] for frame in range(at, at + TEMPORAL))
            parts.append(features(a, b) @ self.early.T + features(c, d) @ self.late.T)
        found = np.concatenate(parts) + self.offset
        return np.ascontiguousarray(found.transpose(3, 0, 1, 2), np.float32)


def features(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two frames' cells, [1, height, width, 3] each -> [1, height / 4, width / 4, square x feature]."""
    pair = np.stack([first, second], 1)
    _, _, height, width, _ = pair.shape
    split = pair.reshape(1, 2, height // 4, 2, 2, width // 4, 2, 2, COLOURS)
    # clip, frame, row, square's row, cell's row, column, square's column, cell's column, colour
    cells = split.transpose(0, 2, 5, 3, 6, 1, 4, 7, 8)
    kinds = [
        cells.mean((5, 6, 7)),
        (cells[..., 1, :] - cells[..., 0, :]).mean((5, 6)) / 2,
        (cells[..., 1, :, :] - cells[..., 0, :, :]).mean((5, 6)) / 2,
        (cells[..., 1, :, :, :] - cells[..., 0, :, :, :]).mean((5, 6)) / 2,
    ]
    return np.stack(kinds, -2).reshape(1, height // 4, width // 4, WIDTH)


def clip_patches(sprites: Sprites, count: int = 96) -> ClipPatches:
    """The map for scenes in motion, as they look at 480x832."""
    painter = Painter(sprites, 208, 120, smooth=2)
    pairs = []
    for seed in range(SEED, SEED + count):
        made, start = clip(seed), np.random.default_rng(seed).random() * 0.95
        frames = [np.asarray(painter.paint(made.at(start + step / 82)), np.float32) for step in range(TEMPORAL)]
        first, second, third, fourth = (frame[None] / 127.5 - 1 for frame in frames)
        pairs.append(np.stack([features(first, second), features(third, fourth)], -2).reshape(-1, 2, WIDTH))
    return fitted(np.concatenate(pairs))


def fitted(pairs: np.ndarray) -> ClipPatches:
    """The map for [patches, early and late, square x feature] like these."""
    still = pairs.mean(1).reshape(-1, SQUARES, 4, COLOURS)
    colour = still[:, :, 0].mean(1)
    mean = colour.mean(0)
    spread, rotation = principal(colour - mean)
    detail = still.copy()
    detail[:, :, 0] -= colour[:, None]
    detail[:, :, 3] = 0
    detail_spread, directions = principal(detail.reshape(-1, WIDTH))
    slope_spread = (_slopes(pairs) ** 2).mean(0) ** 0.5
    strengths = np.concatenate(
        [
            (spread / spread[0]) ** COLOUR_POWER / spread,
            STRONGEST_DETAIL * (detail_spread[:DETAILS] / detail_spread[0]) ** DETAIL_POWER / detail_spread[:DETAILS],
            STRONGEST_DETAIL / slope_spread,
        ]
    )
    early, late = (np.zeros((LATENT_CHANNELS, SQUARES, 4, COLOURS)) for _ in range(2))
    still_map = np.zeros((COLOURS + DETAILS, SQUARES, 4, COLOURS))
    still_map[:COLOURS, :, 0] = rotation[:, None] / SQUARES
    still_map[COLOURS:] = directions[:DETAILS].reshape(DETAILS, SQUARES, 4, COLOURS)
    early[: COLOURS + DETAILS] = late[: COLOURS + DETAILS] = still_map / 2
    for number in range(SLOPES):
        early[-SLOPES + number, :, 0, number] = -2 / SQUARES
        late[-SLOPES + number, :, 0, number] = 2 / SQUARES
        early[-SLOPES + number, :, 3, number] = late[-SLOPES + number, :, 3, number] = 1 / SQUARES
    offset = np.zeros(LATENT_CHANNELS)
    offset[:COLOURS] = -strengths[:COLOURS] * (rotation @ mean)
    scaled = [strengths[:, None] * part.reshape(LATENT_CHANNELS, WIDTH) for part in (early, late)]
    return ClipPatches(scaled[0], scaled[1], offset)


def _slopes(pairs: np.ndarray) -> np.ndarray:
    """By how much the mean colour changes, as a line through four frames says."""
    kinds = pairs.reshape(-1, 2, SQUARES, 4, COLOURS).mean(2)
    return np.asarray(2 * (kinds[:, 1, 0] - kinds[:, 0, 0]) + kinds[:, 0, 3] + kinds[:, 1, 3])
