"""A small network that says what a scene shows: it judges the pictures of models that it knows nothing of.

For every position of a grid it says how likely each object has its middle there and what colour it is; for the whole
picture, place and time of day.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor, nn
from torch.nn import functional as F

from training.painting import Painter
from training.pictures import to_pixels
from training.scenes import Scene, scene
from training.sprites import Sprites
from training.task import Device
from training.windows import box
from training.words import COLOURS, OBJECTS, PLACES, POSITIONS, TIMES

SIDE: Final[int] = 128
GRID: Final[int] = 16
ROWS: Final[int] = 24
SEED: Final[int] = 1 << 44
GENERATED_NOISE: Final[float] = 12.0  # of 255: pictures of models are neither as clean nor as sharp as scenes
# Where one kind of position ends and the next begins, as shares of the width.
EDGES: Final[tuple[float, ...]] = (0.37, 0.63)


@dataclass(frozen=True)
class Seen:
    """One object that the judge sees, as sure as `score`."""

    name: str
    colour: str | None
    position: str
    score: float


@dataclass(frozen=True)
class Verdict:
    """What a picture shows; the surest object first."""

    place: str
    time: str
    things: tuple[Seen, ...]


class _Layer(nn.Sequential):
    def __init__(self, width: int, out: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(width, out, 3, stride, 1), nn.GroupNorm(8, out), nn.SiLU())


class Network(nn.Module):
    """Pictures of 128x128 -> objects [rows, objects, 16, 16], colours [rows, 1 + colours, 16, 16], places, times."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(_Layer(3, 24, 2), _Layer(24, 40, 2), _Layer(40, 72, 2), _Layer(72, 72))
        self.coarse = nn.Sequential(_Layer(72, 112, 2), _Layer(112, 112), _Layer(112, 112), _Layer(112, 112))
        self.together = _Layer(72 + 112, 96)
        self.objects, self.colours = nn.Conv2d(96, len(OBJECTS), 1), nn.Conv2d(96, len(COLOURS) + 1, 1)
        self.places, self.times = nn.Linear(112, len(PLACES)), nn.Linear(112, len(TIMES))
        assert self.objects.bias is not None
        nn.init.constant_(self.objects.bias, -5.0)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        fine = self.fine(pixels)
        coarse = self.coarse(fine)
        both = self.together(torch.cat([fine, F.interpolate(coarse, scale_factor=2.0)], 1))
        whole = coarse.mean((2, 3))
        return self.objects(both), self.colours(both), self.places(whole), self.times(whole)


@dataclass(frozen=True)
class Scenes:
    """Pictures of 128x128, and what they show."""

    pictures: np.ndarray
    scenes: list[Scene]


class Judge:
    """Trains the network on scenes that no model was trained on."""

    name = "sdxl-judge"
    learning_rate = 1e-3

    def __init__(self, sprites: Sprites, device: Device) -> None:
        self._device = device
        self._painter = Painter(sprites, SIDE, SIDE, smooth=2)
        torch.manual_seed(4)
        self.network = Network()

    def modules(self) -> Mapping[str, nn.Module]:
        return {"judge": self.network}

    def draw(self, step: int) -> Scenes:
        rng = np.random.default_rng((SEED, step))
        scenes = [scene(SEED + step * 1024 + row) for row in range(ROWS * self._device.scale)]
        return Scenes(np.stack([_worn(self._painter.paint(drawn), rng) for drawn in scenes]), scenes)

    def samples(self, batch: Scenes) -> int:
        return len(batch.scenes)

    def loss(self, batch: Scenes, step: int) -> Tensor:
        pixels = to_pixels(batch.pictures, self._device)
        with self._device.autocast():
            objects, colours, places, times = self.network(pixels)
        middles = torch.zeros(objects.shape)
        painted = torch.full((len(objects), GRID, GRID), -1)
        for row, drawn in enumerate(batch.scenes):
            for thing in drawn.things:
                x, y = _middle(box(thing, (SIDE, SIDE)))
                middles[row, list(OBJECTS).index(thing.name), y, x] = 1
                near = (row, slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2))
                painted[near] = list(COLOURS).index(thing.colour) + 1 if thing.colour else 0
        middles, painted = middles.to(pixels.device), painted.to(pixels.device)
        place = torch.tensor([list(PLACES).index(drawn.place) for drawn in batch.scenes]).to(pixels.device)
        time = torch.tensor([list(TIMES).index(drawn.time) for drawn in batch.scenes]).to(pixels.device)
        return (
            _focal(objects.float(), middles)
            + F.cross_entropy(colours.float(), painted, ignore_index=-1)
            + F.cross_entropy(places.float(), place)
            + F.cross_entropy(times.float(), time)
        )

    def grid(self) -> Image.Image:
        """How many of 240 new scenes it is right about."""
        right = dict.fromkeys(("place", "time", "object", "colour", "position"), 0.0)
        count = 0
        for step in range(10):
            batch = self.draw((1 << 20) + step)
            for drawn, verdict in zip(batch.scenes, judged(self.network, batch.pictures, self._device), strict=True):
                thing, seen = drawn.things[0], verdict.things[0]
                if len(drawn.things) > 1:
                    continue
                count += 1
                right["place"] += verdict.place == drawn.place
                right["time"] += verdict.time == drawn.time
                right["object"] += seen.name == thing.name
                right["colour"] += seen.colour == thing.colour
                right["position"] += seen.position == thing.position
        picture = Image.new("RGB", (256, 16 * len(right) + 8), "white")
        for row, (name, number) in enumerate(right.items()):
            ImageDraw.Draw(picture).text((8, 4 + 16 * row), f"{name}: {number / count:.1%}", fill="black")
        return picture


@torch.no_grad()
def judged(network: Network, pictures: np.ndarray, device: Device) -> list[Verdict]:
    """What each of these 128x128 pictures shows, with every object that may be there once."""
    objects, colours, places, times = network(to_pixels(pictures, device))
    return [
        Verdict(list(PLACES)[int(places[row].argmax())], list(TIMES)[int(times[row].argmax())], _things(*both))
        for row, both in enumerate(zip(objects, colours, strict=True))
    ]


def _things(objects: Tensor, colours: Tensor) -> tuple[Seen, ...]:
    """The two surest objects; the second is not where the first one is."""
    found: list[Seen] = []
    scores = objects.sigmoid().clone()
    for _ in range(2):
        kind, y, x = np.unravel_index(int(scores.argmax()), scores.shape)
        colour = int(colours[:, y, x].argmax())
        position = list(POSITIONS)[int(np.searchsorted(EDGES, (x + 0.5) / GRID))]
        score = float(scores[kind, y, x])
        found.append(Seen(list(OBJECTS)[kind], list(COLOURS)[colour - 1] if colour else None, position, score))
        scores[:, :, max(0, x - 3) : x + 4] = 0
        scores[kind] *= 0.999
    return tuple(found)


def _focal(logits: Tensor, middles: Tensor) -> Tensor:
    """Positions without an object are many: those that are clear already count for little. Those beside a middle count
    for nothing, as it may as well be there."""
    likely = logits.sigmoid()
    beside = F.max_pool2d(middles, 3, 1, 1) - middles
    found = -F.logsigmoid(logits) * (1 - likely).square() * middles
    absent = -F.logsigmoid(-logits) * likely.square() * (1 - middles) * (1 - beside)
    return (found + absent).sum() / middles.sum().clamp(min=1)


def _middle(edges: tuple[float, float, float, float]) -> tuple[int, int]:
    left, top, right, bottom = edges
    x, y = (min(GRID - 1, max(0, int((low + high) / 2 * GRID))) for low, high in ((left, right), (top, bottom)))
    return x, y


def _worn(picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """A little softer and noisier, as a model's pictures are."""
    if rng.random() < 0.7:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.2))))
    noise = rng.normal(0, GENERATED_NOISE * rng.random(), (SIDE // 4, SIDE // 4, 3))
    rough = np.asarray(picture, np.float32) + np.kron(noise, np.ones((4, 4, 1)))
    return np.asarray(np.clip(rough, 0, 255), np.uint8)
