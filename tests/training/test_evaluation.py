"""The captions kept apart, and how an answer to one is judged."""

from collections import Counter

import numpy as np
import torch
from PIL import Image, ImageDraw

from training import evaluate
from training.evaluate import COUNT, OF_EACH, TARGETS, HeldOut, held_out, right
from training.judge import SIDE, Judge, Network, Seen, Verdict, judged
from training.task import Device
from training.words import COLOURS, OBJECTS

CPU = Device(torch.device("cpu"), 1, 0)
FOX = HeldOut("a red fox on the left in the snow", "snow", None, (("fox", "red", "left"),))
TWO = HeldOut("a red fox and a cat", None, None, (("fox", "red", "left"), ("cat", None, "right")))


class Discs:
    def get(self, name: str, colour: str | None) -> Image.Image:
        disc = Image.new("RGBA", (64, 64))
        ImageDraw.Draw(disc).ellipse((4, 4, 60, 60), fill=COLOURS[colour] if colour else (128, 128, 128))
        return disc


def seen(name: str, position: str, colour: str | None = None) -> Seen:
    return Seen(name, colour, position, 1.0)


def test_the_list_is_the_one_that_was_chosen_and_has_every_object() -> None:
    assert evaluate.CAPTIONS.read_text() == evaluate.choose()
    told = held_out()
    named = Counter(name for each in told for name, _, _ in each.things)
    assert len(told) == COUNT
    assert set(named) == set(OBJECTS)
    assert min(named.values()) >= OF_EACH
    assert {len(each.things) for each in told} == {1, 2}


def test_what_a_caption_says_is_asked_for_and_nothing_else() -> None:
    picture = Verdict("snow", "night", (seen("fox", "left", "red"), seen("cat", "right")))
    assert dict(right(FOX, picture)) == {"place": True, "object": True, "position": True, "colour": True}


def test_what_is_wrong_is_found() -> None:
    picture = Verdict("sea", "day", (seen("cat", "right", "blue"), seen("fox", "left")))
    assert dict(right(FOX, picture)) == {"place": False, "object": False, "position": False, "colour": False}


def test_two_objects_have_to_be_the_right_ones_on_the_right_sides() -> None:
    fine = (seen("cat", "right"), seen("fox", "left", "red"))
    swapped = (seen("cat", "left"), seen("fox", "right", "red"))
    twice = (seen("fox", "left", "red"), seen("fox", "right"))
    answers = [dict(right(TWO, Verdict("sea", "day", things))) for things in (fine, swapped, twice)]
    assert [answer["two objects"] for answer in answers] == [True, False, False]
    assert answers[0]["colour 0"]


def test_every_measure_has_an_aim() -> None:
    said = {
        name.split(" ")[0] if name.startswith("colour") else name
        for each in (FOX, TWO)
        for name, _ in right(each, Verdict("sea", "day", (seen("fox", "left"), seen("cat", "right"))))
    }
    assert said | {"time"} == set(TARGETS)


def test_the_judge_learns_from_worn_scenes_and_answers_in_words() -> None:
    judge = Judge(Discs(), CPU)
    batch = judge.draw(0)
    assert batch.pictures.shape[1:] == (SIDE, SIDE, 3)
    assert judge.loss(batch, 0).isfinite()
    (verdict,) = judged(Network(), batch.pictures[:1], CPU)
    assert len(verdict.things) == 2
    assert verdict.things[0].name in OBJECTS
    assert np.all([0 <= thing.score <= 1 for thing in verdict.things])
