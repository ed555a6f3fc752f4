"""What a caption says, as numbers that a text encoder can be asked for."""

from typing import Final

import numpy as np

from training.scenes import Scene
from training.words import COLOURS, OBJECTS, PLACES, POSITIONS, SIZES, TIMES, WEATHERS

UNSAID: Final[int] = 0
# An object is asked for where it stands: on the left, in the middle, on the right, or anywhere.
SPOTS: Final[tuple[str, ...]] = (*POSITIONS, "anywhere")
THING_FACTS: Final[tuple[tuple[str, ...], ...]] = (tuple(OBJECTS), tuple(COLOURS), tuple(SIZES))
SCENE_FACTS: Final[tuple[tuple[str, ...], ...]] = (tuple(PLACES), tuple(TIMES), tuple(WEATHERS))


def choices() -> list[int]:
    """How many answers every question has, "unsaid" among them."""
    return [len(names) + 1 for names in (*SCENE_FACTS, *THING_FACTS * len(SPOTS))]


def facts(scene: Scene, text: str) -> np.ndarray:
    """Returns the answer to every question: 0 where `text`, a caption of this scene, does not say it."""
    phrases = (PLACES[scene.place], TIMES[scene.time], (WEATHERS[scene.weather], ()))
    names = (scene.place, scene.time, scene.weather)
    answers = [
        table.index(name) + 1 if _any((*said[0], *said[1]), text) else UNSAID
        for table, name, said in zip(SCENE_FACTS, names, phrases, strict=True)
    ]
    spots = np.zeros((len(SPOTS), len(THING_FACTS)), np.int64)
    for thing in scene.things:
        # Of two objects the first is on the left, said or not.
        says_where = len(scene.things) > 1 or _any(POSITIONS[thing.position][1], text)
        size = SIZES[thing.size][1]
        spots[SPOTS.index(thing.position if says_where else "anywhere")] = (
            THING_FACTS[0].index(thing.name) + 1,
            THING_FACTS[1].index(thing.colour) + 1 if thing.colour else UNSAID,
            # Of two objects only one may be small, and the word alone does not say which: it is left out.
            THING_FACTS[2].index(thing.size) + 1 if len(scene.things) == 1 and _any(size, text) else UNSAID,
        )
    return np.array([*answers, *spots.flatten()])


def _any(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)
