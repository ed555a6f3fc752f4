"""The small SDXL's latents: a fixed linear map of every patch of 32x32 pixels, so that no colour can get lost.

Three numbers are the patch's mean colour; the other thirteen are the strongest principal components of what is left, of
8x8 means of 4x4 pixels. A scene drawn at a quarter of the size, with smooth edges, has therefore the same latents.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from atelier.small_models.sdxl_trained import LATENT_CHANNELS
from training.painting import Painter
from training.scenes import crowd, scene
from training.sprites import Sprites

PATCH: Final[int] = 32  # pixels of a full-size picture
CELL: Final[int] = 4
CELLS: Final[int] = PATCH // CELL
COLOURS: Final[int] = 3
SEED: Final[int] = 1 << 40  # scenes of other seeds than those that are learnt from
# Deviations of the latents are those of the components to these powers: details keep their place behind what is
# seen from afar, and still are not lost in the noise.
COLOUR_POWER: Final[float] = 0.3
DETAIL_POWER: Final[float] = 0.5
STRONGEST_DETAIL: Final[float] = 0.7


@dataclass(frozen=True)
class Patches:
    """`matrix` is [latents, colour x row x column of cells], for colours from -1 to 1; `offset` is added."""

    matrix: np.ndarray
    offset: np.ndarray

    def latents(self, cells: np.ndarray) -> np.ndarray:
        """[height, width, 3] uint8 at a quarter of the full size -> [latents, height / 8, width / 8]."""
        height, width = (side // CELLS for side in cells.shape[:2])
        found = by_patch(cells[: height * CELLS, : width * CELLS]) @ self.matrix.T + self.offset
        return np.ascontiguousarray(found.reshape(height, width, -1).transpose(2, 0, 1), np.float32)

    def cells(self, latents: np.ndarray) -> np.ndarray:
        """The way back, as good as a linear map can be: uint8 at a quarter of the full size."""
        count, height, width = latents.shape
        flat = latents.reshape(count, -1).T - self.offset
        cells = (flat @ np.linalg.pinv(self.matrix).T).reshape(height, width, COLOURS, CELLS, CELLS)
        picture = cells.transpose(0, 3, 1, 4, 2).reshape(height * CELLS, width * CELLS, COLOURS)
        return np.asarray(np.clip((picture + 1) * 127.5, 0, 255).round(), np.uint8)

    def colours(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the matrix [3, latents] and the offset that make the patch's mean colour from its latents."""
        cells = CELLS * CELLS
        rotation = self.matrix[:COLOURS].reshape(COLOURS, COLOURS, cells).sum(2)
        back = np.zeros((COLOURS, len(self.matrix)))
        back[:, :COLOURS] = np.linalg.inv(rotation)
        return back, -back @ self.offset


def by_patch(cells: np.ndarray) -> np.ndarray:
    """[height, width, 3] uint8 -> [patches, colour x row x column], from -1 to 1."""
    height, width = (side // CELLS for side in cells.shape[:2])
    split = cells.reshape(height, CELLS, width, CELLS, COLOURS).transpose(0, 2, 4, 1, 3)
    return np.asarray(split.reshape(height * width, -1), np.float32) / 127.5 - 1


def means(pixels: np.ndarray) -> np.ndarray:
    """[height, width, 3] uint8 at full size -> the means of its cells, as float32."""
    height, width = (side // CELL for side in pixels.shape[:2])
    return np.asarray(pixels.reshape(height, CELL, width, CELL, 3).mean((1, 3)), np.float32)


def scene_patches(sprites: Sprites, count: int = 256) -> Patches:
    """The map for patches of scenes, half of them full of objects."""
    painter = Painter(sprites, 256, 256, smooth=2)
    seeds = range(SEED, SEED + count)
    pictures = [np.asarray(painter.paint((crowd if seed % 2 else scene)(seed))) for seed in seeds]
    return fitted(np.concatenate([by_patch(picture) for picture in pictures]))


def fitted(patches: np.ndarray) -> Patches:
    """The map for patches like these, as `by_patch` gives them."""
    cells = CELLS * CELLS
    colour = patches.reshape(-1, COLOURS, cells).mean(2)
    mean = colour.mean(0)
    spread, rotation = principal(colour - mean)
    means = np.repeat(rotation[:, :, None] / cells, cells, 2).reshape(COLOURS, -1)
    detail_spread, detail = principal(patches - np.repeat(colour, cells, 1))
    kept = LATENT_CHANNELS - COLOURS
    wanted = np.concatenate(
        [
            (spread / spread[0]) ** COLOUR_POWER,
            STRONGEST_DETAIL * (detail_spread[:kept] / detail_spread[0]) ** DETAIL_POWER,
        ]
    )
    scale = wanted / np.concatenate([spread, detail_spread[:kept]])
    matrix = scale[:, None] * np.concatenate([means, detail[:kept]])
    offset = np.zeros(LATENT_CHANNELS)
    offset[:COLOURS] = -scale[:COLOURS] * (rotation @ mean)
    return Patches(matrix, offset)


def principal(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns deviations and directions, the strongest first; a direction's largest number is positive."""
    values, vectors = np.linalg.eigh(rows.T.astype(np.float64) @ rows / len(rows))
    directions = vectors[:, ::-1].T
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    return np.sqrt(np.maximum(values[::-1], 0)), directions * np.sign(largest)
