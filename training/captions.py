"""Captions of scenes: many wordings of one scene, and what a model is told when it is told nothing."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from training.scenes import Clip, Scene, Thing
from training.words import FLAWS, FRAMES, MOTIONS, OBJECTS, PLACES, POSITIONS, SIZES, TIMES, WEATHERS

T = TypeVar("T")

# How often a caption says a fact. What it leaves out may be anything in the picture, so a model learns what to
# make up by itself, and a prompt of a single word ("a fox", "at night") is one it has seen.
P_SAID = 0.85
P_FRAME = 0.3
# How often a row has no condition: guidance needs a model that also draws without a prompt.
P_UNCONDITIONAL = 0.12

NUMBER_WORDS = {"a": ("a", "one", "the"), "an": ("an", "one", "the")}


def caption(scene: Scene, rng: np.random.Generator, said: float = P_SAID) -> str:
    """Returns one wording; with `said=1` it names every fact of the scene."""
    things = _things(scene.things, rng, said)
    place, time = _one(rng, PLACES[scene.place]), _one(rng, TIMES[scene.time])
    places = [_one(rng, place)] if rng.random() < said else []
    times = [_one(rng, time)] if rng.random() < said else []
    weathers = [_one(rng, WEATHERS[scene.weather])] if scene.weather != "clear" and rng.random() < said else []
    return _framed(_ordered(rng, things, places, times, weathers), rng)


def clip_caption(clip: Clip, rng: np.random.Generator, said: float = P_SAID) -> str:
    """Returns one wording of a clip; its motion is always said."""
    scene = clip.start
    motion = _one(rng, MOTIONS[clip.motion])
    says_time = clip.motion != "nightfall" and rng.random() < said
    times = [_one(rng, TIMES[scene.time][0])] if says_time else []
    places = [_one(rng, PLACES[scene.place][0])] if rng.random() < said else []
    doer = _noun(scene.things[0], rng, said)
    return _framed(" ".join(part for part in [doer, motion, *places, *times] if part), rng)


def prompt(words: str, rng: np.random.Generator) -> str | None:
    """Returns `words`, or now and then what an unconditional row is given: nothing at all (None, as SDXL's empty
    negative prompt), an empty prompt, or the words of a usual negative prompt."""
    if rng.random() >= P_UNCONDITIONAL:
        return words
    return (None, "", _one(rng, FLAWS))[int(rng.integers(3))]


def _ordered(rng: np.random.Generator, things: str, places: list[str], times: list[str], weathers: list[str]) -> str:
    match int(rng.integers(4)):
        case 0:
            return ", ".join([*times, " ".join([things, *places]), *weathers])
        case 1:
            return ", ".join([" ".join([things, *places]), *times, *weathers])
        case 2:
            return ", ".join([things, *places, *times, *weathers])
        case _:
            return " ".join([things, *places, *times, *weathers])


def _things(things: Sequence[Thing], rng: np.random.Generator, said: float) -> str:
    nouns = [_noun(thing, rng, said) for thing in things]
    says_position = rng.random() < said
    if len(things) == 1:
        where = _one(rng, POSITIONS[things[0].position][1])
        if not says_position:
            return nouns[0]
        return f"{nouns[0]} {where}" if rng.random() < 0.7 else f"{where}, {nouns[0]}"
    joint = (" and ", " next to ", " beside ")[int(rng.integers(3))]
    if says_position and rng.random() < 0.6:
        nouns = [f"{noun} {_one(rng, POSITIONS[thing.position][1])}" for noun, thing in zip(nouns, things, strict=True)]
        joint = (" and ", ", ")[int(rng.integers(2))]
        if rng.random() < 0.3:
            nouns.reverse()
    return joint.join(nouns)


def _noun(thing: Thing, rng: np.random.Generator, said: float) -> str:
    words = []
    if SIZES[thing.size][1] and rng.random() < said:
        words.append(_one(rng, SIZES[thing.size][1]))
    if thing.colour:  # always said: an unsaid colour would teach that objects are of any colour
        words.append(thing.colour)
    words.append(_one(rng, OBJECTS[thing.name][1]))
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join([*([_one(rng, NUMBER_WORDS[article])] if rng.random() < 0.9 else []), *words])


def _framed(words: str, rng: np.random.Generator) -> str:
    return _one(rng, FRAMES).format(words) if rng.random() < P_FRAME else words


def _one(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]
