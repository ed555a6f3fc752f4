"""Pictures to start from: how much of them stays, how they are fitted, and what is refused."""

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from atelier.contracts.errors import CapabilityMissing, ReferenceUnusable
from sdxl_service.engine.engine import SdxlEngine
from sdxl_service.engine.interface import SCHEDULERS, Picture, Reference
from sdxl_service.engine.latents import decode, encode
from shared.worker.engine import Phase, Step
from tests.kit.drawing import REQUEST, checkered, difference, draw, generate, pipeline, pixels

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


SMALL: dict[str, Any] = {"width": 96, "height": 96, "steps": 20, "guidance_scale": 2.0}


def starting_from(engine: SdxlEngine, content: bytes, denoise: float, **changes: Any) -> Picture:
    return draw(engine, reference=Reference(content, denoise), **SMALL | changes)[0]


def through_the_model(engine: SdxlEngine, content: bytes) -> Picture:
    """The picture as the model's own latents have it: nothing is closer to the reference than this."""
    request = dataclasses.replace(REQUEST, width=96, height=96, reference=Reference(content, 0.5))
    file = io.BytesIO()
    with torch.no_grad():
        decode(pipeline(engine), encode(pipeline(engine), request)).save(file, "PNG")
    return Picture(file.getvalue(), 96, 96, 0, 0.0, 0)


def test_the_less_is_denoised_the_more_of_the_reference_stays(engine: SdxlEngine) -> None:
    reference = through_the_model(engine, checkered())
    apart = [difference(starting_from(engine, checkered(), denoise), reference) for denoise in (0.05, 0.2, 0.5, 1.0)]
    assert apart == sorted(apart)
    assert apart[0] < 0.5 * apart[-1]


def test_another_reference_draws_another_picture(engine: SdxlEngine) -> None:
    grey = io.BytesIO()
    Image.new("RGB", (96, 96), "grey").save(grey, "PNG")
    assert difference(*(starting_from(engine, content, 0.5) for content in (checkered(), grey.getvalue()))) > 5


def test_a_reference_is_scaled_to_cover_the_size_and_cropped_around_the_middle(engine: SdxlEngine) -> None:
    wide = Image.new("RGB", (384, 192), "red")
    wide.paste(Image.open(io.BytesIO(checkered(192, 192))), (96, 0))
    file = io.BytesIO()
    wide.save(file, "PNG")
    middle = Image.open(io.BytesIO(checkered(192, 192))).resize((96, 96), Image.Resampling.LANCZOS)
    fitted = io.BytesIO()
    middle.save(fitted, "PNG")
    stretched = io.BytesIO()
    wide.resize((96, 96), Image.Resampling.LANCZOS).save(stretched, "PNG")
    drawn, like_this, not_like_this = (
        starting_from(engine, each.getvalue(), 0.2) for each in (file, fitted, stretched)
    )
    assert 4 * difference(drawn, like_this) < difference(drawn, not_like_this)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16"])
def test_pictures_of_every_mode_are_taken(engine: SdxlEngine, mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (96, 96)).save(file, "PNG")
    assert starting_from(engine, file.getvalue(), 0.5)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_an_image_does_not_depend_on_its_neighbours(engine: SdxlEngine, scheduler: str) -> None:
    start = Reference(checkered(), 0.7)
    batch = draw(engine, seeds=(4, 5, 6, 7, 8, 9), scheduler=scheduler, reference=start)
    (alone,) = draw(engine, seeds=(8,), scheduler=scheduler, reference=start)
    assert np.abs(pixels(batch[4]) - pixels(alone)).max() <= 2
    assert difference(batch[0], batch[1]) > 0


@pytest.mark.parametrize(("steps", "denoise", "run"), [(20, 0.05, 1), (20, 0.2, 4), (10, 1.0, 10), (50, 0.29, 14)])
@pytest.mark.parametrize("scheduler", ["euler", "unipc"])
def test_the_steps_that_ran_are_counted(
    engine: SdxlEngine, steps: int, denoise: float, run: int, scheduler: str
) -> None:
    seen: list[Step] = []
    request = dataclasses.replace(REQUEST, steps=steps, scheduler=scheduler, reference=Reference(checkered(), denoise))
    (picture,) = generate(engine, request, seen.append).pictures
    denoised = [(step.step, step.total) for step in seen if step.phase is Phase.DENOISING]
    assert denoised == [(step, run) for step in range(1, run + 1)]
    assert picture.steps == run == int(steps * denoise)


def test_both_pipelines_are_made_of_the_same_parts(engine: SdxlEngine) -> None:
    checkpoint = engine._checkpoints["sdxl"]
    plain, other = checkpoint.pipeline.components, checkpoint.from_picture.components
    assert plain.keys() == other.keys()
    assert all(plain[part] is other[part] for part in plain)


def damaged() -> bytes:
    """A picture whose second chunk of data is none."""
    file = io.BytesIO()
    Image.effect_noise((256, 256), 80).convert("RGB").save(file, "PNG")
    first, second, rest = file.getvalue().split(b"IDAT", 2)
    return first + b"IDAT" + second + b"\0\1\2\3" + rest


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"no picture", checkered()[:200], damaged(), jpeg()])
def test_what_is_no_picture_is_refused(engine: SdxlEngine, content: bytes) -> None:
    with pytest.raises(ReferenceUnusable, match="reference: these bytes are no PNG picture"):
        starting_from(engine, content, 0.5)


@pytest.mark.parametrize("kept", ["style", "character"])
def test_what_takes_an_adapter_is_refused(engine: SdxlEngine, kept: str) -> None:
    with pytest.raises(CapabilityMissing, match=f"atelier-small-sdxl cannot keep {kept} alone"):
        draw(engine, reference=Reference(checkered(), 0.5, kept))


def test_a_job_with_a_reference_leaves_nothing_behind_for_the_next(engine: SdxlEngine) -> None:
    before = draw(engine)
    starting_from(engine, checkered(), 0.3, weighted=True, weights="(red:1.5)", clip_skip=1)
    assert draw(engine) == before
