"""Weights cannot part a word that is refused, nor take one back in a way that nobody looks for."""

import random
from typing import Any

import pytest

from atelier.contracts.errors import ContentForbidden, ContentNotAllowed
from atelier.contracts.prompt_weights import Unreadable, read
from atelier.pb.edge.v1 import edge_pb2
from edge_service.accounts.audit import Entry
from edge_service.adapters.limiter import PerOwnerLimiter
from edge_service.moderation.minors import refuse
from edge_service.moderation.moderator import Moderator, Subject
from edge_service.moderation.weight_variants import with_readings


class Unrecorded:
    """An audit log that keeps nothing."""

    async def record(self, entry: Entry) -> None: ...


async def judged(mode: "edge_pb2.ContentMode" = edge_pb2.CONTENT_MODE_NSFW, **texts: str) -> str:
    nobody: Any = None
    audit: Any = Unrecorded()
    subject = Subject("ann", "admin", "sdxl", "sdxl_image_fast", mode)
    moderator = Moderator(audit, subject, b"", nobody, PerOwnerLimiter(1, 1))
    return await moderator.check({field.replace("__", "."): text for field, text in texts.items()})


async def is_forbidden(prompt: str) -> bool:
    try:
        await judged(prompt=prompt)
    except ContentForbidden:
        return True
    return False


@pytest.mark.parametrize(
    "prompt",
    [
        "nude (te:1.0)en", "nude (te:1)en", "nude (te)1 (en)1", "nude (te:1.3)en", "nude te(en)++", r"nude te\:en",
        "(nu:1)(de:1) teen", "nude ((te:2)en:0.5)", "nude t(:1.2)een", "nude (t:1)een", "teen (nu:0.7)de",
        "teen, (clothes:  0.3)", "teen, (clothes:00.3)", "teen, (clothes)00.3", "nude q(te(e:1)n:1.1)q",
        "nude q(te(:1)en:1.1)q", "nude woma(n te)1.2 (en)1.2 x", "teen, (x:.5 y clothes)0.3",
        r"teen, (x \:0.5 clothes)0.3", "teen, (smile :-p clothes)0.3", "teen, (a :0.5 b (clothes) c)0.3",
        r"nude, (smile:-\) adult:0.3)", "teen, (clo:0.3)(thes:0.4)", "teen, ((clothes)2)0.2",
        "nude, high (fox:0) school", "nude, high (fox:0.01) school", "nude te(x:0)en",
        "nude, high (fox:0) (school:0.9)", "nude, 14 (fox)- years old",
        "teen, (dress (clothes:0.5) shoes)1.9", "nude, ((adult))0.99", "teen, clothes---",
    ],
)  # fmt: skip
async def test_what_the_weights_make_of_a_prompt_is_refused_too(prompt: str) -> None:
    with pytest.raises(ContentForbidden, match=r"^prompt: sexual content with any indication of a minor is refused"):
        await judged(prompt=prompt)


@pytest.mark.parametrize("prompt", ["a woman q(nu(d)1:1.1)(e)1 q", "a woman q(nu(d):1.1)q(e) q", "a (nu:1)de woman"])
async def test_the_rules_of_a_mode_read_the_same(prompt: str) -> None:
    await judged(prompt=prompt)
    with pytest.raises(ContentNotAllowed):
        await judged(edge_pb2.CONTENT_MODE_SFW, prompt=prompt)


@pytest.mark.parametrize("field", ["compel_weights", "style", "config__negative_prompt"])
async def test_every_text_is_read_so(field: str) -> None:
    with pytest.raises(ContentForbidden):
        await judged(prompt="nude", **{field: "q(te(e:1)n:1.1)q"})


@pytest.mark.parametrize(
    "prompt",
    ["a nude woman, (red:1.3) hair", "a child in (warm clothes)1.4 and (boots)++", "a (fox", "state-of-the-art"],
)
async def test_ordinary_weights_pass(prompt: str) -> None:
    assert await judged(prompt=prompt)


def disguised(word: str, chance: random.Random) -> str:
    """A word with weights around and within it, and something before and behind it."""
    within = (lambda c: c, lambda c: f"({c})", lambda c: f"({c}:1)", lambda c: f"(){c}", lambda c: f"({c}:1.2)")
    marked = "".join(chance.choices(within, (6, 1, 1, 1, 1))[0](letter) for letter in word)
    weight = chance.choice(["", ":1.1", ":0.3", ":1", ":.5"])
    before, behind = chance.choice(["", "q", ":0.5", r"\:", "x:.2 ", "(a) "]), chance.choice(["", "q", " :0.1 a"])
    return f"{before}({marked}{weight}){behind}"


async def test_whatever_stands_as_a_word_before_the_model_is_judged_as_one() -> None:
    chance, forbidden = random.Random(8), 0
    for _ in range(3000):
        words = [disguised(word, chance) for word in chance.sample(["nude", "teen", "clothes", "adult", "fox"], 2)]
        prompt = chance.choice([" ", ", ", ""]).join(words)
        try:
            pieces = read(prompt)
        except Unreadable:
            continue
        bare = str.maketrans("():", "   ")
        words_read = " ".join(piece.text for piece in pieces)
        less = " ".join(piece.text.translate(bare) for piece in pieces if piece.weight < 1)
        try:
            refuse({"prompt": f"{words_read}\n({less})0.1"})
        except ContentForbidden:
            forbidden += 1
            assert await is_forbidden(prompt), prompt
    assert forbidden > 200


@pytest.mark.parametrize(
    ("prompt", "weights"),
    [
        ("nude, high", "school"), ("nude, barely", "legal"), ("nude, aged", "14"), ("nude, 14", "years old"),
        ("nude, high", "(fox:0) (school:1.2)"),
    ],
)  # fmt: skip
async def test_prompt_and_weighted_words_are_one_text(prompt: str, weights: str) -> None:
    with pytest.raises(ContentForbidden, match=r"^prompt: sexual content"):
        await judged(prompt=prompt, compel_weights=weights)


@pytest.mark.parametrize("prompt", ["16 candles, nude (tall:1.2) woman", "school of fish, (red:1.2) sea, nude, high"])
async def test_readings_are_judged_each_by_itself(prompt: str) -> None:
    assert await judged(prompt=prompt)


def test_a_text_has_the_readings_that_weights_make_of_it() -> None:
    plain = {"prompt": "a red boat", "config.negative_prompt": "a (fox"}
    assert with_readings(plain) == plain
    assert with_readings({"prompt": "a (red:1.3)boat"}) == {
        "prompt": "a (red:1.3)boat",
        "all, joined|prompt": "a redboat",
        "all, words|prompt": "a  red boat",
    }
    found = with_readings({"config.negative_prompt": r"a(\(:b)0.35 (c)0.8"})
    assert found["less, joined|config.negative_prompt"] == "(  b c)0.1"
    assert found["over 0.3, words|config.negative_prompt"] == "a c"
    assert found["over 0.8, words|config.negative_prompt"] == "a"
