"""The image engine: every field, what is reported, and what happens when it fails."""

import dataclasses
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPTokenizer

from atelier.contracts.errors import EngineFailed, InvalidRequest, OutOfMemory
from sdxl_service.engine.engine import SdxlEngine
from sdxl_service.engine.interface import SCHEDULERS, ImageRequest, Reference
from shared.worker.engine import Phase, Step
from tests.kit.drawing import REQUEST, checkered, draw, generate, pipeline, pixels

# diffusers' schedulers still speak to numpy as before its version 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

# Another value for every field but `model`; each must lead to another picture.
CHANGES: dict[str, list[Any]] = {
    "prompt": ["a castle"],
    "negative_prompt": ["", "night"],
    "width": [96],
    "height": [128],
    "steps": [4],
    "guidance_scale": [1.0, 3.0],
    "seeds": [(0,), (6,)],
    "scheduler": [word for word in SCHEDULERS if word != REQUEST.scheduler],
    "clip_skip": [1, 4],
    "weighted": [True],
    "weights": ["(sea:1.2)"],
    "reference": [Reference(checkered(), 0.5), Reference(checkered(), 1.0)],
}
# What a field needs beside it to have an effect.
BESIDE: dict[str, dict[str, Any]] = {"weighted": {"prompt": "a (red:1.4) boat"}, "weights": {"weighted": True}}


def test_every_field_has_a_change_to_be_tested() -> None:
    assert {*CHANGES, "model"} == {field.name for field in dataclasses.fields(ImageRequest)}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in CHANGES.items() for value in values])
def test_every_field_changes_the_picture(engine: SdxlEngine, field: str, value: Any) -> None:
    beside = BESIDE.get(field, {})
    (before,), (after,) = draw(engine, **beside), draw(engine, **beside, **{field: value})
    assert pixels(before).shape != pixels(after).shape or not np.array_equal(pixels(before), pixels(after))


def test_the_same_request_draws_the_same_picture(engine: SdxlEngine) -> None:
    assert draw(engine) == draw(engine)


def test_a_picture_is_not_of_one_colour(engine: SdxlEngine) -> None:
    assert pixels(draw(engine)[0]).std() > 20


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("seeds", [(7, 8, 9), (4, 5, 6, 7, 8, 9)])
def test_an_image_does_not_depend_on_its_neighbours(engine: SdxlEngine, scheduler: str, seeds: tuple[int, ...]) -> None:
    batch = draw(engine, seeds=seeds, scheduler=scheduler)
    (alone,) = draw(engine, seeds=(8,), scheduler=scheduler)
    assert [picture.seed for picture in batch] == list(seeds)
    assert np.abs(pixels(batch[seeds.index(8)]) - pixels(alone)).max() <= 2
    assert not np.array_equal(pixels(batch[0]), pixels(batch[1]))


def test_a_job_leaves_nothing_behind_for_the_next(engine: SdxlEngine) -> None:
    before = draw(engine)
    draw(engine, scheduler="ddim", steps=2, guidance_scale=2.0, clip_skip=2)
    assert draw(engine) == before


def test_what_is_reported_is_what_ran(engine: SdxlEngine) -> None:
    steps: list[Step] = []
    (picture,) = generate(engine, REQUEST, steps.append).pictures
    assert (picture.width, picture.height) == Image.open(io.BytesIO(picture.png)).size == (72, 64)
    assert picture.steps == sum(step.phase is Phase.DENOISING for step in steps) == 3
    assert (picture.guidance_scale, picture.seed) == (7.5, 5)


def test_progress_goes_through_the_phases_in_order(engine: SdxlEngine) -> None:
    steps: list[Step] = []
    generate(engine, dataclasses.replace(REQUEST, seeds=(1, 2, 3)), steps.append)
    assert steps == [
        Step(Phase.ENCODING),
        *(Step(Phase.DENOISING, step, 3) for step in (1, 2, 3)),
        *(Step(Phase.DECODING, image, 3) for image in (0, 1, 2)),
    ]


def test_the_picture_carries_its_parameters(engine: SdxlEngine) -> None:
    image = Image.open(io.BytesIO(draw(engine, prompt="ein rotes Boot – 赤い舟")[0].png))
    assert json.loads(image.info["parameters"]) == {
        "prompt": "ein rotes Boot – 赤い舟",
        "negative_prompt": "blurry",
        "steps": 3,
        "guidance_scale": 7.5,
        "seed": 5,
        "scheduler": "euler",
        "clip_skip": 0,
        "model": "atelier-small-sdxl",
    }


class Gone(Exception):
    """What a servicer raises when no caller waits any more."""


@pytest.mark.parametrize(
    "last", [Step(Phase.ENCODING), Step(Phase.DENOISING, 1, 3), Step(Phase.DENOISING, 3, 3), Step(Phase.DECODING, 1, 3)]
)
def test_a_job_can_be_ended_at_every_step(engine: SdxlEngine, last: Step) -> None:
    before, seen = draw(engine), list[Step]()

    def report(step: Step) -> None:
        seen.append(step)
        if step == last:
            raise Gone

    with pytest.raises(Gone):
        generate(engine, dataclasses.replace(REQUEST, seeds=(1, 2, 3)), report)
    assert seen[-1] == last
    assert draw(engine) == before


def failing_once(engine: SdxlEngine, monkeypatch: pytest.MonkeyPatch, failure: Callable[[], None]) -> None:
    """Have the unet meet `failure` the first time it is called."""
    unet, failures = pipeline(engine).unet, [failure]
    forward = unet.forward

    def fail_first(*args: Any, **options: Any) -> Any:
        if failures:
            failures.pop()()
        return forward(*args, **options)

    monkeypatch.setattr(unet, "forward", fail_first)


def test_running_out_of_memory_is_told_apart_and_survived(engine: SdxlEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_memory() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    failing_once(engine, monkeypatch, fill_memory)
    with pytest.raises(OutOfMemory, match="1 images of 72x64") as caught:
        draw(engine)
    assert caught.value.__context__ is None
    assert draw(engine)


def test_not_a_number_is_a_failure_and_no_black_picture(engine: SdxlEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = torch.full((2, 4, 8, 9), float("nan"))
    monkeypatch.setattr(pipeline(engine).unet, "forward", lambda *args, **options: (nothing,))
    with pytest.raises(EngineFailed, match="not-a-numbers"):
        draw(engine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 70}, "resolution: both sides must be multiples of 8, got 70x64"),
        ({"height": 60}, "resolution: both sides must be multiples of 8, got 72x60"),
        ({"scheduler": "heun"}, "scheduler: must be one of euler, euler_ancestral, ddim, dpmpp_2m, unipc"),
        ({"weights": "(a:1.2)"}, "weights: have no effect unless the request is weighted"),
        (
            {"reference": Reference(checkered(), 0.3)},
            "denoise: must be at most 1.0 and leave one step or more, got 0.3 of 3 steps",
        ),
        (
            {"reference": Reference(checkered(), 1.5)},
            "denoise: must be at most 1.0 and leave one step or more, got 1.5 of 3 steps",
        ),
        ({"clip_skip": 6}, "clip_skip: must be under 6, the layers of this model, got 6"),
    ],
)
def test_what_the_model_cannot_do_is_refused(engine: SdxlEngine, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        draw(engine, **change)
    assert str(caught.value) == message


def test_no_clip_skip_and_zero_are_the_same(engine: SdxlEngine) -> None:
    assert draw(engine, clip_skip=0) == draw(engine, clip_skip=None)


def test_the_model_says_what_it_is(engine: SdxlEngine) -> None:
    (model,) = engine.models
    assert (model.name, model.real_name) == ("sdxl", "atelier-small-sdxl")
    assert (engine.device, engine.dtype, engine.memory()) == ("cpu", "float32", (0, 0))
    assert (model.size_multiple, model.min_side, model.max_pixels) == (8, 64, 2048 * 2048)


LONG = ", ".join(f"{word} lighthouse" for word in ("red", "tall", "old", "white", "burning") * 10)


def test_both_tokenizers_count_what_they_give_the_model(engine: SdxlEngine, model: Path) -> None:
    texts = ["", "a red boat", "a red boat, 8k", LONG, "狐狸 <|endoftext|> İ", "  two  spaces\n"]
    for count, folder in zip(engine.count_tokens("sdxl", texts), ("tokenizer", "tokenizer_2"), strict=True):
        theirs = CLIPTokenizer.from_pretrained(model / folder)
        assert (count.limit, count.tokens) == (77, tuple(len(theirs(text, verbose=False).input_ids) for text in texts))
    assert [count.tokenizer for count in engine.count_tokens("sdxl", [""])] == ["clip_l", "clip_g"]


def test_what_is_said_not_to_be_read_changes_nothing_and_what_is_read_does(engine: SdxlEngine) -> None:
    (read, _), _ = (count.read_characters for count in engine.count_tokens("sdxl", [LONG, "x"]))
    assert 0 < read < len(LONG)
    (as_sent,) = draw(engine, prompt=LONG)
    assert pixels(draw(engine, prompt=LONG[:read] + " castle, night")[0]).tolist() == pixels(as_sent).tolist()
    words = LONG[:read].split()
    assert pixels(draw(engine, prompt=" ".join([*words[:-1], "castle"]))[0]).tolist() != pixels(as_sent).tolist()


def test_tokens_are_counted_while_a_picture_is_drawn(engine: SdxlEngine) -> None:
    alone = engine.count_tokens("sdxl", [LONG])
    with ThreadPoolExecutor(1) as other:
        found: list[Any] = []

        def report(step: Step) -> None:
            found.append(other.submit(engine.count_tokens, "sdxl", [LONG]).result(10))

        generate(engine, dataclasses.replace(REQUEST, prompt=LONG), report)
    assert len(found) > 3
    assert all(count == alone for count in found)
