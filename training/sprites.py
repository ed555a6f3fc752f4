"""The objects' pictures, in their own colours and in each of the seven."""

import functools
from typing import Final, Protocol

import numpy as np
from PIL import Image

from training.words import COLOURS

SIDE: Final[int] = 320


class Sprites(Protocol):
    """Where objects' pictures come from."""

    def get(self, name: str, colour: str | None) -> Image.Image:
        """Returns the object as an RGBA picture, in its own colours when `colour` is None."""
        ...


class SpriteFolder:
    """The pictures as one array on disk (memory-mapped, so that all drawing processes share it)."""

    def __init__(self, pictures: np.ndarray, names: list[str]) -> None:
        self._pictures = pictures  # object, colour (own first), row, column, RGBA
        self._rows = {name: row for row, name in enumerate(names)}
        self._columns: dict[str | None, int] = {None: 0} | {name: i + 1 for i, name in enumerate(COLOURS)}

    @functools.lru_cache(maxsize=256)  # noqa: B019 one instance a process, kept to its end
    def get(self, name: str, colour: str | None) -> Image.Image:
        return Image.fromarray(np.array(self._pictures[self._rows[name], self._columns[colour]]))


def recoloured(sprite: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Returns the RGBA sprite with its body in `colour`: light and shade stay, near black and near white stay too
    (eyes, teeth, windows), unless the body itself is white."""
    rgb, alpha = sprite[..., :3].astype(np.float32), sprite[..., 3:]
    value, low = rgb.max(-1), rgb.min(-1)
    saturation = (value - low) / np.maximum(value, 1)
    visible = alpha[..., 0] > 128
    features = (value < 80) | ((saturation < 0.12) & (value > 200))
    body = visible & ~features
    if body.sum() < 0.35 * visible.sum():
        body = visible & (value >= 80)
    if not body.any():
        body = visible
    brightness = rgb @ np.array([0.3, 0.59, 0.11], np.float32)
    level = brightness / np.median(brightness[body])
    painted = _ramp(level, np.asarray(colour, np.float32))
    return np.concatenate([np.where(body[..., None], painted, rgb).astype(np.uint8), alpha], -1)


def _ramp(level: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Darker than `colour` below level 1, towards white above it."""
    dark = colour * np.clip(level, 0.45, 1)[..., None]
    light = np.clip((level - 1) * 0.8, 0, 0.45)[..., None]
    return np.asarray(dark * (1 - light) + 255 * light)
