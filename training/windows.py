"""Windows of latents: a UNet learns most from the part of a picture where something stands.

SDXL is told where a picture was cropped, so parts of large pictures teach it objects at their true size for a quarter
of the time that whole ones cost.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from training.patches import PATCH
from training.scenes import Scene, Thing

P_OBJECT: Final[float] = 0.85  # otherwise the window is anywhere
OBJECT_WEIGHT: Final[float] = 3.0


@dataclass(frozen=True)
class Window:
    """A picture's size and what is seen of it, in pixels."""

    width: int
    height: int
    left: int
    top: int
    seen_width: int
    seen_height: int

    def ids(self) -> list[int]:
        """SDXL's size conditions: original size, crop, target size."""
        return [self.height, self.width, self.top, self.left, self.seen_height, self.seen_width]

    def positions(self) -> tuple[slice, slice]:
        """Rows and columns of the latents."""
        top, left = self.top // PATCH, self.left // PATCH
        return slice(top, top + self.seen_height // PATCH), slice(left, left + self.seen_width // PATCH)


def window(
    scene: Scene, size: tuple[int, int], seen: tuple[int, int], rng: np.random.Generator, p_object: float = P_OBJECT
) -> Window:
    """A window of `seen` pixels by chance, mostly with an object of the scene in it."""
    middle = [float(rng.random()), float(rng.random())]
    if scene.things and rng.random() < p_object:
        left, top, right, bottom = box(scene.things[int(rng.integers(len(scene.things)))], size)
        # The window's middle is at most a third of it away from a point of the object.
        middle = [
            float(rng.uniform(0.35, 0.65)) * (right - left) + left + float(rng.uniform(-1, 1)) * seen[0] / size[0] / 3,
            float(rng.uniform(0.35, 0.65)) * (bottom - top) + top + float(rng.uniform(-1, 1)) * seen[1] / size[1] / 3,
        ]
    left, top = (
        int(np.clip(round((at * whole - part / 2) / PATCH) * PATCH, 0, whole - part))
        for at, whole, part in zip(middle, size, seen, strict=True)
    )
    return Window(*size, left, top, *seen)


def box(thing: Thing, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of an object, as shares of the picture."""
    width, height = size
    half, tall = thing.scale * min(size) / width / 2, thing.scale * min(size) / height
    foot = thing.foot - thing.lift
    return thing.x - half, foot - tall, thing.x + half, foot


def weights(scene: Scene, shape: tuple[int, int]) -> np.ndarray:
    """What an error counts at each position of a whole picture's latents: more where an object is."""
    rows, columns = shape
    found = np.ones(shape, np.float32)
    for thing in scene.things:
        left, top, right, bottom = box(thing, (columns, rows))
        y = slice(max(0, int(top * rows)), max(0, int(np.ceil(bottom * rows))))
        x = slice(max(0, int(left * columns)), max(0, int(np.ceil(right * columns))))
        found[y, x] = OBJECT_WEIGHT
    return found
