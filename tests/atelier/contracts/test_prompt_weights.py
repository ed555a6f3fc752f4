"""Weights in prompts: what is read as a weight, what stays text, and what is refused."""

import contextlib
import random
from itertools import pairwise

import pytest

from atelier.contracts.prompt_weights import MAX_PIECES, MAX_WEIGHT, Piece, Unreadable, has_weights, read


def pieces(text: str) -> list[tuple[str, float]]:
    return [(piece.text, round(piece.weight, 6)) for piece in read(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a red boat", [("a red boat", 1.0)]),
        ("", []),
        ("   ", []),
        ("a (red:1.3) boat", [("a ", 1.0), ("red", 1.3), (" boat", 1.0)]),
        ("a (red)1.3 boat", [("a ", 1.0), ("red", 1.3), (" boat", 1.0)]),
        ("a (dark red : 0.5) boat", [("a ", 1.0), ("dark red ", 0.5), (" boat", 1.0)]),
        ("(red).5", [("red", 0.5)]),
        ("(red)0", [("red", 0.0)]),
        ("(red:3)", [("red", 3.0)]),
        ("(red)++ boat", [("red", 1.21), (" boat", 1.0)]),
        ("(red)-", [("red", 0.9)]),
        ("a boat++", [("a ", 1.0), ("boat", 1.21)]),
        ("a boat--, at sea", [("a ", 1.0), ("boat", 0.81), (", at sea", 1.0)]),
        ("a (red) boat", [("a red boat", 1.0)]),
        ("boat(s) (old)", [("boats old", 1.0)]),
        ("(a). The sea", [("a. The sea", 1.0)]),
        ("(a)1.3.4, (cute)3.5d, (photo)2.8mm, (red)1,3", [("a1.3.4, cute3.5d, photo2.8mm, red1,3", 1.0)]),
        ('[(red)1.3], "(blue)1.2"', [("[", 1.0), ("red", 1.3), ('], "', 1.0), ("blue", 1.2), ('"', 1.0)]),
        ("((red:2) boat)0.5", [("red", 1.0), (" boat", 0.5)]),
        ("(((red)+)+)+", [("red", 1.331)]),
        ("(red:1.2)(green:1.2)", [("redgreen", 1.2)]),
        ("(well)-known", [("well-known", 1.0)]),
        ("(cute)3d render, (nikon)85mm", [("cute3d render, nikon85mm", 1.0)]),
        ("a (b)c++", [("a b", 1.0), ("c", 1.21)]),
        ("()", []),
        ("a ( :1.3) b", [("a   b", 1.0)]),
        ("(colours: red, green)1.1", [("colours: red, green", 1.1)]),
        ("colours: 1.3", [("colours: 1.3", 1.0)]),
    ],
)
def test_weights_are_read(text: str, found: list[tuple[str, float]]) -> None:
    assert pieces(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "a state-of-the-art sci-fi boat",
        "a boat - at sea",
        "1 + 1 = 2",
        "-- + ++ -",
        "re-enter, well--known and a+b",
        "a boat+-b",
        "[red], {blue} <lora:x:1.0> \\ back\\slash",
        '"the red boat" at sea, "retro"-style, "a"+"b"',
        "half past 12:30: late",
        "灯台, 赤い舟 😀",
    ],
)
def test_what_is_no_weight_stays_text(text: str) -> None:
    assert pieces(text) == [(text, 1.0)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"a boat \(red\)", [("a boat (red)", 1.0)]),
        (r"\(red:1.3\)", [("(red:1.3)", 1.0)]),
        (r"(a \) b)1.2", [("a ) b", 1.2)]),
        (r"(at 12\:30)", [("at 12:30", 1.0)]),
        (r"C\+\+ and C\+\++", [("C++ and ", 1.0), ("C++", 1.1)]),
        (r"boat\-", [("boat-", 1.0)]),
        (r"a\\b", [("a\\b", 1.0)]),
    ],
)
def test_a_backslash_makes_a_mark_a_character(text: str, found: list[tuple[str, float]]) -> None:
    assert pieces(text) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a (red boat", r"the ( at character 3 is never closed; write \( for the character"),
        ("a (red:1.3 boat", r"the ( at character 3 is never closed; write \( for the character"),
        ("a red) boat", r"the ) at character 6 closes nothing; write \) for the character"),
        ("smile :)", r"the ) at character 8 closes nothing; write \) for the character"),
        ("a (smile :) face", r"a weight is missing after the : at character 10; write \: for the character"),
        ("(red:1.3.4)", "the weight at character 6 is no number"),
        ("(red:.)", "the weight at character 6 is no number"),
        *((f"(red:{number})", "the weight at character 6 is no number") for number in ("1,3", "1.3x", "1e0", "１.３")),
        ("(red:1.3)1.2", "the group at character 1 has two weights"),
        ("(red)1.3++", "the group at character 1 has two weights"),
        ("(a).AND(b)", ".AND at character 4 is not supported, only weights are"),
        ("(red:1.3)+", "the group at character 1 has two weights"),
        ("(red:-1)", "the weight at character 6 must be 0 to 3, got -1"),
        ("(at 12:30)", "the weight at character 8 must be 0 to 3, got 30"),
        ("(nikon)85 mm", "the weight at character 8 must be 0 to 3, got 85"),
        ("(red)" + "+" * 12, "the weight at character 6 must be 0 to 3, got 3.13843"),
        ("((red)2)2", "the weights of nested groups make 4, which must be 0 to 3"),
        ('("a boat", "a car").blend(1, 0.5)', ".blend at character 20 is not supported, only weights are"),
        ("(a).and()", ".and at character 4 is not supported, only weights are"),
        ("a boat+-", "the weight at character 7 mixes + and -"),
        ("(boat)+-", "the weight at character 7 mixes + and -"),
        ('the "red boat"++', "the weight at character 15 is behind a quote; write ( ) around what it is for"),
        ('"red"1.3', "the weight at character 6 is behind a quote; write ( ) around what it is for"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(text)
    assert str(caught.value) == says


def test_the_number_of_pieces_is_bounded() -> None:
    most = "(a:1.1)(b:1.2)" * (MAX_PIECES // 2)
    assert len(read(most)) == MAX_PIECES
    with pytest.raises(Unreadable, match=f"at most {MAX_PIECES} pieces of different weights in a row, got 65"):
        read(most + "(c:1.3)")


@pytest.mark.parametrize(
    "text",
    [
        "(:a" * 20_000 + ")" * 20_000,
        "(a" * 20_000 + ")" * 20_000,
        "(" + ":" * 50_000 + ")",
        ":" + " " * 50_000,
        "(a)" + "1" * 50_000 + "x",
        '"a"' + "1" * 50_000 + "x",
        "(a:" + "1" * 50_000 + "x",
    ],
)
def test_long_texts_take_no_longer_than_their_length(text: str) -> None:
    with contextlib.suppress(Unreadable):  # where time grows with the square of the length, each of these takes minutes
        read(text)


def test_deep_nesting_is_no_trouble() -> None:
    assert pieces("(" * 500 + "red" + ")" * 500) == [("red", 1.0)]


def test_nonsense_is_read_or_refused_and_never_crashes() -> None:
    random.seed(7)
    outcomes = set()
    for _ in range(20_000):
        text = "".join(random.choices('ab ().:+-\\",123', k=random.randrange(1, 24)))
        try:
            found = read(text)
        except Unreadable:
            outcomes.add("refused")
        else:
            outcomes.add("read")
            assert all(0 <= piece.weight <= MAX_WEIGHT and piece.text.strip() for piece in found)
            assert all(one.weight != two.weight for one, two in pairwise(found))
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("text", ["(red:1.3)", "a (red)1.2 boat", "(a, b: 0.5)"])
def test_weights_are_recognised(text: str) -> None:
    assert has_weights(text)


@pytest.mark.parametrize("text", ["a boat (red)", "12:30", "boat++", "(see: below)", "a (b) 1.3"])
def test_ordinary_text_has_no_weights(text: str) -> None:
    assert not has_weights(text)


def test_a_piece_is_text_and_weight() -> None:
    assert read("(red:1.3)") == (Piece("red", 1.3),)
