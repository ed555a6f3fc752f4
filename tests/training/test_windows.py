"""Windows show what they say they do."""

import numpy as np

from training.facts import SPOTS, UNSAID, choices, facts
from training.scenes import scene
from training.windows import OBJECT_WEIGHT, box, weights, window
from training.words import OBJECTS

SIZE, SEEN = (1024, 768), (512, 384)


def test_a_window_lies_within_its_picture_and_on_whole_positions() -> None:
    rng = np.random.default_rng(0)
    for seed in range(100):
        found = window(scene(seed), SIZE, SEEN, rng)
        assert 0 <= found.left <= SIZE[0] - SEEN[0]
        assert 0 <= found.top <= SIZE[1] - SEEN[1]
        rows, columns = found.positions()
        assert (rows.stop - rows.start, columns.stop - columns.start) == (12, 16)
        assert found.ids() == [768, 1024, 32 * rows.start, 32 * columns.start, 384, 512]


def test_most_windows_show_the_object() -> None:
    rng = np.random.default_rng(0)
    shown = 0
    for seed in range(200):
        drawn = scene(seed)
        found = window(drawn, SIZE, SEEN, rng, p_object=1.0)
        boxes = [box(thing, SIZE) for thing in drawn.things]
        middles = [((left + right) / 2 * SIZE[0], (top + bottom) / 2 * SIZE[1]) for left, top, right, bottom in boxes]
        shown += any(0 <= x - found.left <= SEEN[0] and 0 <= y - found.top <= SEEN[1] for x, y in middles)
    assert shown > 190


def test_a_whole_picture_is_a_window_too() -> None:
    found = window(scene(1), SIZE, SIZE, np.random.default_rng(0))
    assert (found.left, found.top) == (0, 0)


def test_errors_count_more_where_the_object_is() -> None:
    drawn = scene(3)
    left, top, right, bottom = box(drawn.things[0], (32, 24))
    found = weights(drawn, (24, 32))
    assert found[int((top + bottom) / 2 * 24), int((left + right) / 2 * 32)] == OBJECT_WEIGHT
    assert found[0, 0] == 1


def test_facts_are_what_the_caption_says() -> None:
    seed = next(seed for seed in range(99) if len(scene(seed).things) == 1)
    drawn = scene(seed)
    thing = drawn.things[0]
    told = facts(drawn, f"a {OBJECTS[thing.name][1][0]}")
    spots = told[3:].reshape(len(SPOTS), 3)
    assert (told[:3] == UNSAID).all()
    assert spots[SPOTS.index("anywhere"), 0] == list(OBJECTS).index(thing.name) + 1
    assert (spots[:-1] == UNSAID).all()
    assert len(told) == len(choices())
    assert all(answer < count for answer, count in zip(told, choices(), strict=True))
