"""Scenes: what is in a picture or clip, chosen by one seed. Nothing is drawn here."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from training.words import COLOURS, MOTIONS, OBJECTS, PLACES, POSITIONS, SIZES, TIMES, WEATHERS

# How often a scene has two objects, an object a colour of its own, and the sky anything in it.
P_TWO = 0.3
P_COLOUR = 0.5
P_WEATHER = 0.15


@dataclass(frozen=True)
class Thing:
    """One object. `x` is the middle and `foot` the lowest edge, as shares of the picture's width and height; `scale`
    is a share of its shorter side; `angle` in degrees, anticlockwise; `lift` raises it, as a share of the height."""

    name: str
    colour: str | None
    position: str
    size: str
    x: float
    foot: float
    scale: float
    angle: float = 0.0
    lift: float = 0.0


@dataclass(frozen=True)
class Scene:
    """One picture. `seed` also decides what has no word: the shape of the ground, where the stars are."""

    seed: int
    place: str
    time: str
    weather: str
    horizon: float
    things: tuple[Thing, ...]
    night: float = 0.0  # 1 when a day has wholly turned to night


def scene(seed: int) -> Scene:
    """Returns the still picture of this seed."""
    rng = np.random.default_rng((seed, 0))
    return Scene(
        seed=seed,
        place=_pick(rng, PLACES),
        time=_pick(rng, TIMES),
        weather=_pick(rng, list(WEATHERS)[1:]) if rng.random() < P_WEATHER else "clear",
        horizon=float(rng.uniform(0.48, 0.62)),
        things=_things(rng),
    )


def crowd(seed: int) -> Scene:
    """Returns a scene full of objects in every colour: a VAE sees so few of them in ordinary scenes that its latents
    keep no hue of theirs."""
    rng = np.random.default_rng((seed, 6))
    things = [
        _thing(rng, _pick(rng, OBJECTS), _pick(rng, POSITIONS), _pick(rng, SIZES)) for _ in range(rng.integers(3, 8))
    ]
    strewn = [replace(thing, x=float(rng.random()), foot=float(rng.uniform(0.3, 1.0))) for thing in things]
    return replace(scene(seed), things=tuple(strewn))


def _things(rng: np.random.Generator) -> tuple[Thing, ...]:
    """One object anywhere, or two of different kinds left and right, the first on the left."""
    if rng.random() >= P_TWO:
        return (_thing(rng, _pick(rng, OBJECTS), _pick(rng, POSITIONS), _pick(rng, SIZES)),)
    first, second = rng.choice(len(OBJECTS), size=2, replace=False)
    names = list(OBJECTS)
    sizes = [("small", "medium")[int(rng.random() < 0.7)] for _ in range(2)]
    return (_thing(rng, names[first], "left", sizes[0]), _thing(rng, names[second], "right", sizes[1]))


def _thing(rng: np.random.Generator, name: str, position: str, size: str) -> Thing:
    scale = float(rng.uniform(*SIZES[size][0]))
    return Thing(
        name=name,
        colour=_pick(rng, COLOURS) if rng.random() < P_COLOUR else None,
        position=position,
        size=size,
        x=float(rng.uniform(*POSITIONS[position][0])),
        foot=float(rng.uniform(0.68, 0.78)) + 0.2 * max(0.0, scale - 0.3),
        scale=scale,
    )


def _pick(rng: np.random.Generator, choices: Iterable[str]) -> str:
    names = list(choices)
    return names[int(rng.integers(len(names)))]


@dataclass(frozen=True)
class Clip:
    """One scene in motion: its only object does `motion` from the first frame to the last."""

    start: Scene
    motion: str

    def at(self, moment: float) -> Scene:
        """Returns the scene at `moment`, 0 for the first frame to 1 for the last."""
        if self.motion == "nightfall":
            return replace(self.start, night=moment)
        (thing,) = self.start.things
        return replace(self.start, things=(_moved(thing, self.motion, moment),))


def clip(seed: int) -> Clip:
    """Returns the clip of this seed: one object, standing where its motion leaves it room."""
    rng = np.random.default_rng((seed, 1))
    still = scene(seed)
    motion = _pick(rng, MOTIONS)
    size = ("small", "medium")[int(rng.random() < 0.7)]
    thing = _with_room(rng, motion, _thing(rng, still.things[0].name, still.things[0].position, size))
    time = "day" if motion == "nightfall" else still.time
    return Clip(replace(still, things=(thing,), time=time), motion)


def _with_room(rng: np.random.Generator, motion: str, thing: Thing) -> Thing:
    """The thing placed where its motion can begin."""
    match motion:
        case "left":
            return replace(thing, x=float(rng.uniform(0.7, 0.85)), position="right")
        case "right":
            return replace(thing, x=float(rng.uniform(0.15, 0.3)), position="left")
        case "down":
            return replace(thing, lift=float(rng.uniform(0.3, 0.4)))
        case _:
            return thing


def _moved(thing: Thing, motion: str, moment: float) -> Thing:
    match motion:
        case "left" | "right":
            return replace(thing, x=thing.x + moment * (0.55 if motion == "right" else -0.55))
        case "up":
            return replace(thing, lift=thing.lift + 0.38 * moment)
        case "down":
            return replace(thing, lift=thing.lift * (1 - moment))
        case "grows":
            return replace(thing, scale=thing.scale * (0.6 + 1.2 * moment))
        case "turns":
            return replace(thing, angle=360.0 * moment)
        case "bounces":
            return replace(thing, lift=0.22 * float(abs(np.sin(3 * np.pi * moment))))
        case _:
            return thing
