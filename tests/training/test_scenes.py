"""Scenes, captions and clips come from their seed alone, and captions name what is drawn."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from training.captions import caption, clip_caption, prompt
from training.painting import Painter
from training.scenes import Clip, Scene, clip, crowd, scene
from training.words import COLOURS, FLAWS, MOTIONS, OBJECTS, PLACES, POSITIONS, SIZES, TIMES

SEEDS = range(300)


class Discs:
    """A disc in place of every object: grey, or of its colour."""

    def get(self, name: str, colour: str | None) -> Image.Image:
        disc = Image.new("RGBA", (64, 64))
        ImageDraw.Draw(disc).ellipse((4, 4, 60, 60), fill=COLOURS[colour] if colour else (128, 128, 128))
        return disc


def painted(drawn: Scene, side: int = 64) -> np.ndarray:
    return np.asarray(Painter(Discs(), side, side, smooth=2).paint(drawn), np.float32)


def wording(drawn: Scene, seed: int) -> str:
    return caption(drawn, np.random.default_rng(seed), said=1.0)


def one_of(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)


def test_there_is_enough_to_draw() -> None:
    assert len(OBJECTS) >= 40
    assert (len(PLACES), len(TIMES), len(COLOURS)) == (8, 4, 7)


def test_the_same_seed_gives_the_same_scene_picture_and_caption() -> None:
    for seed in (0, 7, 2**40):
        assert scene(seed) == scene(seed)
        assert clip(seed) == clip(seed)
        assert (painted(scene(seed)) == painted(scene(seed))).all()
        assert wording(scene(seed), 3) == wording(scene(seed), 3)


def test_a_crowd_has_many_objects_and_can_be_painted() -> None:
    assert all(len(crowd(seed).things) >= 3 for seed in SEEDS)
    assert painted(crowd(1)).shape == (64, 64, 3)


def test_other_seeds_give_other_scenes() -> None:
    assert len({scene(seed) for seed in SEEDS}) == len(SEEDS)


def test_everything_comes_up() -> None:
    scenes = [scene(seed) for seed in range(2000)]
    things = [thing for drawn in scenes for thing in drawn.things]
    assert {thing.name for thing in things} == set(OBJECTS)
    assert {thing.colour for thing in things} == {None, *COLOURS}
    assert {thing.position for thing in things} == set(POSITIONS)
    assert {thing.size for thing in things} == set(SIZES)
    assert {drawn.place for drawn in scenes} == set(PLACES)
    assert {drawn.time for drawn in scenes} == set(TIMES)
    assert {len(drawn.things) for drawn in scenes} == {1, 2}
    assert {clip(seed).motion for seed in SEEDS} == set(MOTIONS)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_full_caption_names_every_fact(seed: int) -> None:
    drawn = scene(seed)
    text = wording(drawn, seed)
    for thing in drawn.things:
        assert one_of(OBJECTS[thing.name][1], text), text
        assert thing.colour is None or thing.colour in text, text
        assert not SIZES[thing.size][1] or one_of(SIZES[thing.size][1], text), text
    for table, name in ((PLACES, drawn.place), (TIMES, drawn.time)):
        phrases, words = table[name]
        assert one_of((*phrases, *words), text), text


def test_a_caption_may_leave_facts_out_but_never_the_object_or_its_colour() -> None:
    drawn = scene(5)
    texts = [caption(drawn, np.random.default_rng(seed), said=0.0) for seed in range(50)]
    for thing in drawn.things:
        assert all(one_of(OBJECTS[thing.name][1], text) for text in texts)
        assert all(thing.colour in text for text in texts if thing.colour)


def test_a_clips_caption_says_its_motion() -> None:
    for seed in SEEDS:
        made = clip(seed)
        assert one_of(MOTIONS[made.motion], clip_caption(made, np.random.default_rng(seed)))


def test_some_rows_are_told_nothing() -> None:
    rng = np.random.default_rng(0)
    told = [prompt("a fox", rng) for _ in range(1000)]
    assert 0.05 < sum(words != "a fox" for words in told) / len(told) < 0.25
    assert set(told) == {"a fox", None, "", *FLAWS}


def test_night_is_darker_than_day_and_snow_brighter_than_forest() -> None:
    by_time = {time: [] for time in TIMES}
    for seed in range(400):
        drawn = scene(seed)
        by_time[drawn.time].append(painted(drawn, 32).mean())
    means = {time: np.mean(values) for time, values in by_time.items()}
    assert means["night"] < 0.6 * means["day"]


@pytest.mark.parametrize(
    ("motion", "wanted"), [("left", (-1, 0)), ("right", (1, 0)), ("up", (0, -1)), ("down", (0, 1))]
)
def test_objects_go_where_the_motion_says(motion: str, wanted: tuple[int, int]) -> None:
    for made in _clips(motion):
        (first,), (last,) = made.at(0.0).things, made.at(1.0).things
        moved = (last.x - first.x, (last.foot - last.lift) - (first.foot - first.lift))
        assert np.dot(moved, wanted) > 0.2
        assert 0 < last.x < 1


def test_a_day_turns_to_night() -> None:
    for made in _clips("nightfall"):
        assert painted(made.at(1.0)).mean() < 0.7 * painted(made.at(0.0)).mean()


def test_one_that_grows_is_bigger_at_the_end() -> None:
    for made in _clips("grows"):
        assert made.at(1.0).things[0].scale > 2 * made.at(0.0).things[0].scale


def test_any_shape_of_picture_can_be_painted() -> None:
    for width, height in ((96, 40), (40, 96), (64, 64)):
        assert Painter(Discs(), width, height).paint(scene(1)).size == (width, height)


def _clips(motion: str) -> list[Clip]:
    return [made for made in map(clip, SEEDS) if made.motion == motion]


def test_a_part_of_a_picture_is_what_the_whole_one_shows_there() -> None:
    for seed in range(20):
        whole = np.asarray(Painter(Discs(), 128, 128, smooth=2).paint(scene(seed)), np.float32)
        part = Painter(Discs(), 128, 128, smooth=2, seen=(32, 48, 96, 112)).paint(scene(seed))
        assert np.abs(np.asarray(part) - whole[48:112, 32:96]).mean() < 0.5
