"""Paints scenes with pillow: a sky, what stands at the horizon, the ground, and the objects on it."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from training.scenes import Scene, Thing
from training.sprites import Sprites

Colour = tuple[float, float, float]

# Sky at the top and at the horizon, and how much light falls on everything else.
SKIES: Final[dict[str, tuple[Colour, Colour, Colour]]] = {
    "day": ((92, 170, 240), (176, 214, 248), (1.0, 1.0, 1.0)),
    "night": ((14, 16, 48), (30, 34, 84), (0.42, 0.44, 0.62)),
    "sunset": ((240, 108, 66), (250, 178, 106), (0.98, 0.88, 0.8)),
    "dawn": ((240, 168, 190), (248, 206, 204), (0.95, 0.9, 0.95)),
}
GROUNDS: Final[dict[str, Colour]] = {
    "snow": (238, 244, 252),
    "meadow": (98, 180, 70),
    "desert": (206, 150, 84),
    "beach": (242, 216, 150),
    "sea": (30, 110, 186),
    "forest": (52, 108, 52),
    "city": (104, 108, 118),
    "mountains": (142, 138, 104),
}
MOUNTAIN: Final[Colour] = (112, 114, 134)
PEAK: Final[Colour] = (246, 248, 252)
PINE: Final[Colour] = (28, 74, 44)
SURF: Final[Colour] = (64, 150, 214)
WALL: Final[Colour] = (82, 88, 106)
LIT: Final[tuple[int, int, int]] = (250, 214, 120)
DARK: Final[tuple[int, int, int]] = (58, 64, 80)
# How far up the ground what stands at the horizon begins, so that no sky shows between the two.
OVERLAP: Final[float] = 0.06


class Painter:
    """Draws one scene at `width` x `height`, `smooth` times larger and then scaled down for smooth edges; or only the
    part of it that is `seen` (left, top, right, bottom)."""

    def __init__(
        self, sprites: Sprites, width: int, height: int, smooth: int = 1, seen: tuple[int, int, int, int] | None = None
    ) -> None:
        self._sprites, self._smooth = sprites, smooth
        self._w, self._h = width * smooth, height * smooth
        self._left, self._top, self._right, self._bottom = (edge * smooth for edge in seen or (0, 0, width, height))

    def paint(self, scene: Scene) -> Image.Image:
        """Returns the scene as an RGB picture."""
        light = _light(scene)
        image = self._sky(scene)
        draw = _Moved(ImageDraw.Draw(image), self._left, self._top)
        self._heaven(draw, scene)
        self._backdrop(draw, scene, light)
        self._ground(draw, scene, light)
        for thing in scene.things:
            self._thing(image, thing, light)
        if scene.weather == "fog":
            veil = Image.new("RGB", image.size, _shade((214, 218, 224), light))
            image = Image.blend(image, veil, 0.45)
        return image.reduce(self._smooth) if self._smooth > 1 else image

    def _sky(self, scene: Scene) -> Image.Image:
        top, bottom = (_mixed(scene, part) for part in (0, 1))
        rows = np.clip(np.linspace(0, 1 / scene.horizon, self._h), 0, 1)[:, None]
        column = (np.asarray(top) * (1 - rows) + np.asarray(bottom) * rows).astype(np.uint8)[:, None]
        seen = Image.fromarray(column[self._top : self._bottom])
        return seen.resize((self._right - self._left, seen.height), Image.Resampling.NEAREST)

    def _heaven(self, draw: "_Moved", scene: Scene) -> None:
        """Sun, stars and moon, clouds."""
        rng = np.random.default_rng((scene.seed, 2))
        night = 1.0 if scene.time == "night" else scene.night
        spots = rng.random((40, 2))
        for x, y in spots[: int(30 * night)]:
            self._disc(draw, x, y * (scene.horizon - 0.04), 0.004, (236, 236, 250))
        x = float(rng.uniform(0.1, 0.9))
        if night > 0.5:
            self._disc(draw, x, 0.14, 0.05, (238, 238, 214))
        elif scene.time in ("sunset", "dawn"):
            self._disc(draw, x, scene.horizon - 0.01, 0.09, (254, 232, 160))
        if scene.weather == "clouds":
            white = _shade((250, 250, 252), _light(scene))
            for cx, cy, size in zip(rng.random(4), rng.uniform(0.08, 0.3, 4), rng.uniform(0.05, 0.08, 4), strict=True):
                for step, grow in ((-1.2, 0.7), (0.0, 1.0), (1.2, 0.75)):
                    self._disc(draw, cx + step * size * self._short / self._w, cy, size * grow, white)

    def _backdrop(self, draw: "_Moved", scene: Scene, light: Colour) -> None:
        rng = np.random.default_rng((scene.seed, 3))
        base = (scene.horizon + OVERLAP) * self._h
        match scene.place:
            case "mountains":
                for x in np.sort(rng.uniform(0, 1, 4)):
                    self._mountain(draw, x * self._w, base, float(rng.uniform(0.22, 0.38)) * self._short, light)
            case "forest":
                for x in np.linspace(0, 1, 12) + rng.uniform(-0.03, 0.03, 12):
                    tall = float(rng.uniform(0.2, 0.34)) * self._short
                    self._peak(draw, x * self._w, base, tall, 0.3, _shade(PINE, light))
            case "city":
                self._skyline(draw, rng, base, scene, light)

    def _mountain(self, draw: "_Moved", x: float, base: float, tall: float, light: Colour) -> None:
        self._peak(draw, x, base, tall, 0.75, _shade(MOUNTAIN, light))
        self._peak(draw, x, base - tall * 0.68, tall * 0.32, 0.75, _shade(PEAK, light))

    def _peak(self, draw: "_Moved", x: float, base: float, tall: float, slope: float, fill: tuple[int, ...]) -> None:
        draw.polygon([(x - tall * slope, base), (x, base - tall), (x + tall * slope, base)], fill=fill)

    def _skyline(self, draw: "_Moved", rng: np.random.Generator, base: float, scene: Scene, light: Colour) -> None:
        lit = LIT if scene.time == "night" or scene.night > 0.5 else _shade(DARK, light)
        left, unit = 0.0, 0.028 * self._short
        while left < self._w:
            columns, rows = int(rng.integers(2, 5)), int(rng.integers(4, 10))
            right, top = left + unit * (2 * columns + 1), base - unit * (1.8 * rows + 1)
            draw.rectangle((left, top, right, base), fill=_shade(_scaled(WALL, float(rng.uniform(0.8, 1.2))), light))
            for column in range(columns):
                for row in range(rows):
                    x, y = left + unit * (1 + 2 * column), top + unit * (1 + 1.8 * row)
                    draw.rectangle((x, y, x + unit, y + unit * 0.9), fill=lit)
            left = right

    def _ground(self, draw: "_Moved", scene: Scene, light: Colour) -> None:
        rng = np.random.default_rng((scene.seed, 4))
        x = np.linspace(0, 1, 49)
        waves = 0.004 * np.sin(40 * x) if scene.place == "sea" else 0.0
        height = 0.0 if scene.place in ("sea", "city", "beach") else float(rng.uniform(0.015, 0.035))
        bend = height * np.sin(rng.uniform(4, 9) * x + rng.uniform(0, 6)) + waves
        if scene.place == "beach":
            self._below(draw, x, scene.horizon + 0 * x, _shade(SURF, light))
            self._below(draw, x, scene.horizon + 0.07 + 0.012 * np.sin(7 * x), _shade(GROUNDS["beach"], light))
        else:
            self._below(draw, x, scene.horizon + bend, _shade(GROUNDS[scene.place], light))

    def _below(self, draw: "_Moved", x: np.ndarray, y: np.ndarray, fill: tuple[int, ...]) -> None:
        edge = list(zip((x * self._w).tolist(), (y * self._h).tolist(), strict=True))
        draw.polygon([(0, self._h), *edge, (self._w, self._h)], fill=fill)

    def _thing(self, image: Image.Image, thing: Thing, light: Colour) -> None:
        side = max(4, round(thing.scale * self._short))
        sprite = self._sprites.get(thing.name, thing.colour).resize((side, side), Image.Resampling.BILINEAR)
        if thing.angle:
            sprite = sprite.rotate(thing.angle, Image.Resampling.BILINEAR)
        if light != (1.0, 1.0, 1.0):
            sprite = _lit(sprite, light)
        left = round(thing.x * self._w - side / 2) - self._left
        image.paste(sprite, (left, round((thing.foot - thing.lift) * self._h) - side - self._top), sprite)

    def _disc(self, draw: "_Moved", x: float, y: float, radius: float, fill: tuple[int, int, int]) -> None:
        r, cx, cy = radius * self._short, x * self._w, y * self._h
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill)

    @property
    def _short(self) -> int:
        return min(self._w, self._h)


class _Moved:
    """Draws into a part of a picture, where it would be in the whole one."""

    def __init__(self, draw: ImageDraw.ImageDraw, left: int, top: int) -> None:
        self._draw, self._left, self._top = draw, left, top

    def ellipse(self, box: tuple[float, float, float, float], fill: tuple[int, ...]) -> None:
        self._draw.ellipse(self._box(box), fill=fill)

    def rectangle(self, box: tuple[float, float, float, float], fill: tuple[int, ...]) -> None:
        self._draw.rectangle(self._box(box), fill=fill)

    def polygon(self, points: Sequence[tuple[float, float]], fill: tuple[int, ...]) -> None:
        self._draw.polygon([(x - self._left, y - self._top) for x, y in points], fill=fill)

    def _box(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        left, top, right, bottom = box
        return left - self._left, top - self._top, right - self._left, bottom - self._top


def _mixed(scene: Scene, part: int) -> Colour:
    """The sky's colour, between that of the scene's time and that of the night."""
    at, night = SKIES[scene.time][part], SKIES["night"][part]
    mixed = [a + (b - a) * scene.night for a, b in zip(at, night, strict=True)]
    return (mixed[0], mixed[1], mixed[2])


def _light(scene: Scene) -> Colour:
    return _mixed(scene, 2)


def _shade(colour: Colour, light: Colour) -> tuple[int, int, int]:
    r, g, b = (min(255, round(c * part)) for c, part in zip(colour, light, strict=True))
    return (r, g, b)


def _lit(sprite: Image.Image, light: Colour) -> Image.Image:
    """The sprite in this light, a little brighter than the ground, so that it can be told from it."""
    lut = [round(value * (0.25 + 0.75 * part)) for part in light for value in range(256)]
    return sprite.point([*lut, *range(256)])


def _scaled(colour: Colour, by: float) -> Colour:
    return (colour[0] * by, colour[1] * by, colour[2] * by)
