"""Weighted prompts: without weights nothing changes, weights change what the model is told, and how it fails."""

import dataclasses
import random
from itertools import combinations
from typing import Any

import pytest
import torch
from compel import CompelForSDXL

from atelier.contracts.errors import InvalidRequest
from sdxl_service.engine.engine import SdxlEngine
from sdxl_service.engine.interface import Reference
from sdxl_service.engine.prompts import condition
from shared.worker.engine import Phase, Report, Step
from tests.kit.drawing import REQUEST, checkered, difference, draw, ignore, pipeline

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

LONG = ", ".join(f"{word} lighthouse" for word in ("red", "tall", "old", "white", "burning") * 20)


def told(engine: SdxlEngine, prompt: str, report: Report = ignore, **changes: Any) -> dict[str, torch.Tensor]:
    request = dataclasses.replace(REQUEST, prompt=prompt, weighted=True, **changes)
    with torch.no_grad():
        return condition(pipeline(engine), request, report)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().mean())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"negative_prompt": ""},
        {"clip_skip": 2},
        {"guidance_scale": 1.0},
        {"seeds": (1, 2, 3)},
        {"prompt": "a red boat, \u706f\u53f0 state-of-the-art!"},
        {"reference": Reference(checkered(), 0.7)},
    ],
)
def test_without_weights_the_picture_is_the_same(engine: SdxlEngine, changes: dict[str, Any]) -> None:
    for plain, weighted in zip(draw(engine, **changes), draw(engine, weighted=True, **changes), strict=True):
        assert difference(plain, weighted) < 0.5


def test_weights_change_what_the_model_is_told_the_more_the_farther_they_are_from_one(engine: SdxlEngine) -> None:
    plain = told(engine, "a red boat")["prompt_embeds"]
    more = [apart(told(engine, f"a (red:{weight}) boat")["prompt_embeds"], plain) for weight in (1.0, 1.1, 1.5, 2.0)]
    less = [apart(told(engine, f"a (red:{weight}) boat")["prompt_embeds"], plain) for weight in (1.0, 0.9, 0.5, 0.0)]
    assert more[0] == less[0] == 0
    assert more == sorted(more)
    assert less == sorted(less)
    assert len({*more, *less}) == 7


@pytest.mark.parametrize("field", ["negative_prompt", "weights"])
def test_weights_count_in_every_text(engine: SdxlEngine, field: str) -> None:
    plain, weighted = (told(engine, "a boat", **{field: text}) for text in ("dark night", "(dark:1.4) night"))
    changed = "negative_prompt_embeds" if field == "negative_prompt" else "prompt_embeds"
    same = {"negative_prompt_embeds", "prompt_embeds"} - {changed}
    assert apart(plain[changed], weighted[changed]) > 0
    assert all(apart(plain[name], weighted[name]) == 0 for name in same)


@pytest.mark.parametrize("spelling", ["a (red)1.3 boat", "a (red: 1.3 ) boat", "a ((red)1.3) boat"])
def test_both_spellings_are_the_same(engine: SdxlEngine, spelling: str) -> None:
    assert apart(told(engine, spelling)["prompt_embeds"], told(engine, "a (red:1.3) boat")["prompt_embeds"]) < 1e-6


@pytest.mark.parametrize("prompt", ["a (red)1.3 boat", "a (red)0.4 boat", "a boat++ at sea--", "((red)1.2 boat)1.1 x"])
def test_weights_mean_what_they_mean_to_compel(engine: SdxlEngine, prompt: str) -> None:
    theirs = CompelForSDXL(pipeline(engine))(prompt)
    assert torch.allclose(told(engine, prompt)["prompt_embeds"], theirs.embeds, atol=1e-5)


def test_the_whole_of_a_prompt_is_read_without_its_marks(engine: SdxlEngine) -> None:
    plain, weighted = told(engine, "a red boat"), told(engine, "a (red:1.4) boat")
    assert apart(plain["pooled_prompt_embeds"], weighted["pooled_prompt_embeds"]) == 0


def test_more_words_come_after_the_prompt(engine: SdxlEngine) -> None:
    together, apart_ = told(engine, "a boat, (red)1.4"), told(engine, "a boat", weights="(red)1.4")
    assert apart(together["prompt_embeds"], apart_["prompt_embeds"]) < 1e-6


def test_a_long_prompt_is_read_to_its_end(engine: SdxlEngine) -> None:
    ends = [draw(engine, prompt=f"{LONG} and a {end}", weighted=True)[0] for end in ("castle", "snowman")]
    cut_off = [draw(engine, prompt=f"{LONG} and a {end}")[0] for end in ("castle", "snowman")]
    assert difference(*ends) > 0
    assert difference(*cut_off) == 0


@pytest.mark.parametrize(
    ("prompt", "negative"), [(LONG, "night"), ("a boat", LONG), (LONG, ""), ("()", "night"), ("a boat", "()"), ("", "")]
)
def test_prompts_of_any_two_lengths_go_together(engine: SdxlEngine, prompt: str, negative: str) -> None:
    given = told(engine, prompt, negative_prompt=negative)
    assert given["prompt_embeds"].shape == given["negative_prompt_embeds"].shape
    assert draw(engine, prompt=prompt, negative_prompt=negative, weighted=True)


FEATURES: dict[str, dict[str, Any]] = {
    "a picture to start from": {"reference": Reference(checkered(), 0.7)},
    "weights": {"weighted": True, "weights": "(red:1.5)"},
    "a negative prompt": {"negative_prompt": "a castle at night"},
    "a batch of six": {"seeds": (5, 6, 7, 8, 9, 10)},
}
WITHOUT = {"reference": None, "weighted": False, "weights": "", "negative_prompt": "", "seeds": (5,)}


@pytest.mark.parametrize(("one", "other"), list(combinations(FEATURES, 2)))
def test_every_two_features_go_together_and_each_has_its_effect(engine: SdxlEngine, one: str, other: str) -> None:
    both = draw(engine, **WITHOUT | FEATURES[one] | FEATURES[other])
    for only in (one, other):
        alone = draw(engine, **WITHOUT | FEATURES[only])
        if len(alone) == len(both) == 6:
            assert all(difference(*pair) > 0.5 for pair in zip(alone, both, strict=True))
        elif len(both) == 6 and only != "a batch of six":
            assert difference(alone[0], both[0]) < 0.5  # the same picture, with others beside it
        else:
            assert difference(alone[0], both[0]) > 0.5
    assert len({picture.png for picture in both}) == len(both)


@pytest.mark.parametrize("field", ["prompt", "negative_prompt", "weights"])
def test_what_cannot_be_read_is_refused_with_its_field(engine: SdxlEngine, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        draw(engine, **{field: "a (red boat"}, weighted=True)
    says = r"the ( at character 3 is never closed; write \( for the character"
    assert str(caught.value) == f"{field}: {says}"


def test_a_job_can_be_ended_between_any_two_runs_of_a_text_encoder(engine: SdxlEngine) -> None:
    many = "".join(f"(a:0.{digit})b " for digit in range(1, 9))
    seen: list[Step] = []
    told(engine, many, seen.append)
    assert len(seen) > 2 * 8
    assert {step.phase for step in seen} == {Phase.ENCODING}

    def gone(step: Step) -> None:
        seen.pop()
        if len(seen) == 3:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        told(engine, many, gone)


@pytest.mark.parametrize("field", ["prompt", "negative_prompt", "weights"])
@pytest.mark.parametrize("text", ["wow!!! " * 36, "!" * 100, "amazing!! stunning!! " * 15, "(!!!:0.5) " * 20])
def test_what_only_one_tokenizer_takes_for_a_word_does_no_harm(engine: SdxlEngine, field: str, text: str) -> None:
    given = told(engine, **{"prompt": "a fox", field: text})
    assert given["prompt_embeds"].shape == given["negative_prompt_embeds"].shape
    assert torch.isfinite(given["prompt_embeds"]).all()


def test_the_runs_of_the_text_encoders_are_bounded(engine: SdxlEngine) -> None:
    seen: list[Step] = []
    heavy = "".join(f"({chr(0x13000) * 11}:0.{1 + place % 2})" for place in range(62))
    with pytest.raises(InvalidRequest, match=r"prompt: parts of the length .* must be at most 256, got \d+"):
        told(engine, heavy, seen.append)
    assert seen == []
    told(engine, "(fog)0.5, (night)0.4, " * 12, seen.append, negative_prompt="(dark)0.5 " * 20, weights=LONG[:900])
    assert 100 < len(seen) <= 4 * 256


def test_where_an_encoder_lies_while_it_is_offloaded_does_not_matter(
    engine: SdxlEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = told(engine, "a (red:1.2) boat")
    for encoder in (pipeline(engine).text_encoder, pipeline(engine).text_encoder_2):
        monkeypatch.setattr(type(encoder), "device", torch.device("meta"))
    monkeypatch.setattr(type(pipeline(engine)), "_execution_device", torch.device("cpu"))
    offloaded = told(engine, "a (red:1.2) boat")
    assert all(apart(plain[name], offloaded[name]) == 0 for name in plain)


def test_without_weighing_marks_are_plain_text(engine: SdxlEngine) -> None:
    assert draw(engine, prompt="a (red boat")


def test_a_control_word_among_weights_is_refused(engine: SdxlEngine) -> None:
    with pytest.raises(InvalidRequest, match="prompt: has a control word of the model"):
        draw(engine, prompt="a <|endoftext|> (red:1.2) boat", weighted=True)


def test_nonsense_is_drawn_or_refused_and_never_fails(engine: SdxlEngine) -> None:
    random.seed(3)
    alphabet = [
        "red ",
        "!",
        " ",
        ",",
        ".",
        "\u706f",
        "\U0001f600",
        "\u200b",
        "\x00",
        "(",
        "(",
        "a:0.5)",
        ")1.3",
        ")",
        "++",
        "-",
    ]
    drawn = 0
    for _ in range(60):
        text = "".join(random.choices(alphabet, k=random.randrange(1, 120)))
        try:
            drawn += len(told(engine, text, negative_prompt=text[::2])) == 4
        except InvalidRequest:
            continue
    for text in ("(\u200b:0.5) a", "(!:0.5) a !", "(:0.5)", "(!!!!)0.2", "(" * 300 + "a" + ")" * 300, "(a)0.9" * 30):
        try:
            drawn += len(told(engine, text)) == 4
        except InvalidRequest:
            continue
    assert drawn > 5
