"""Images made step by step equal those of diffusers' own pipelines to the bit, alone and among other jobs."""

import asyncio
import contextlib
import copy
import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from atelier.contracts.errors import EngineFailed, OutOfMemory
from sdxl_service.engine import latents, schedulers
from sdxl_service.engine.engine import SdxlEngine
from sdxl_service.engine.interface import SCHEDULERS, ImageRequest, Pictures, Reference
from sdxl_service.engine.prompts import condition
from sdxl_service.engine.rows import Row
from shared.worker.engine import Phase, Step
from tests.kit.drawing import REQUEST, checkered, draw, generate, generated, ignore, loaded, pipeline

# diffusers' schedulers still speak to numpy as before its version 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

UNET = "unet/diffusion_pytorch_model.safetensors"
START = Reference(checkered(), 0.6)


def theirs(engine: SdxlEngine, request: ImageRequest) -> torch.Tensor:
    """The latents that the pipeline's own call makes, all images of a request in one batch."""
    checkpoint = engine._checkpoints["sdxl"]
    pipe = copy.copy(checkpoint.from_picture if request.reference else checkpoint.pipeline)
    pipe.scheduler = schedulers.make(request.scheduler, checkpoint.pipeline.scheduler.config)
    with torch.no_grad():
        start: dict[str, Any] = {"width": request.width, "height": request.height}
        if request.reference:
            start = {"image": latents.encode(pipe, request), "strength": request.reference.denoise}
        made: torch.Tensor = pipe(
            **condition(pipe, request, ignore),
            **start,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            clip_skip=request.clip_skip or None,
            num_images_per_prompt=len(request.seeds),
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in request.seeds],
            output_type="latent",
        ).images
    return made


@contextlib.contextmanager
def finished(engine: SdxlEngine) -> Iterator[list[Row]]:
    """The rows that the engine decodes, in order."""
    stepper, found = engine._loop._stepper, list[Row]()
    finish = stepper.finish

    def note(row: Row, report: Any) -> Any:
        found.append(row)
        return finish(row, report)

    stepper.finish = note  # type: ignore[method-assign]
    try:
        yield found
    finally:
        stepper.finish = finish  # type: ignore[method-assign]


def ours(engine: SdxlEngine, request: ImageRequest) -> torch.Tensor:
    with finished(engine) as rows:
        generate(engine, request)
    return torch.cat([row.latents for row in rows])


EVERY = list(itertools.product(SCHEDULERS, (1.0, 7.5), (None, START)))


@pytest.mark.parametrize(("scheduler", "guidance_scale", "reference"), EVERY)
def test_an_image_equals_that_of_the_pipeline_to_the_bit(
    engine: SdxlEngine, scheduler: str, guidance_scale: float, reference: Reference | None
) -> None:
    request = dataclasses.replace(
        REQUEST, prompt="a (red:1.3) boat", steps=6, scheduler=scheduler, guidance_scale=guidance_scale, clip_skip=1,
        reference=reference, weighted=True,
    )  # fmt: skip
    assert torch.equal(ours(engine, request), theirs(engine, request))


@pytest.mark.parametrize(
    "changes", [{}, {"negative_prompt": ""}, {"clip_skip": 2}, {"prompt": "boat " * 100}, {"reference": START}]
)
def test_so_it_does_with_other_prompts(engine: SdxlEngine, changes: dict[str, Any]) -> None:
    request = dataclasses.replace(REQUEST, **changes)
    assert torch.equal(ours(engine, request), theirs(engine, request))


@pytest.mark.parametrize(("scheduler", "guidance_scale", "reference"), EVERY)
def test_several_images_equal_the_batch_of_the_pipeline_to_the_bit(
    engine: SdxlEngine, scheduler: str, guidance_scale: float, reference: Reference | None
) -> None:
    request = dataclasses.replace(
        REQUEST, seeds=(5, 6, 7), scheduler=scheduler, guidance_scale=guidance_scale, reference=reference
    )
    assert torch.equal(ours(engine, request), theirs(engine, request))


def test_half_precision_equals_the_pipeline_too(model: Path) -> None:
    engine = loaded(model, dtype="bfloat16")
    for reference in (None, START):
        request = dataclasses.replace(REQUEST, reference=reference)
        assert torch.equal(ours(engine, request), theirs(engine, request))


def test_a_picture_is_what_the_pipeline_would_have_decoded(engine: SdxlEngine) -> None:
    pipe = pipeline(engine)
    with torch.no_grad():
        made = theirs(engine, REQUEST)
        expected = pipe.image_processor.postprocess(pipe.vae.decode(made / pipe.vae.config.scaling_factor)[0])[0]
        assert latents.decode(pipe, made).tobytes() == expected.tobytes()


def test_latents_with_mean_and_deviation_are_scaled_as_the_pipelines_do(copied: Path) -> None:
    config = copied / "vae/config.json"
    scaling = {"latents_mean": [0.1, -0.2, 0.3, 0.05], "latents_std": [0.9, 1.1, 1.3, 0.7]}
    config.write_text(json.dumps(json.loads(config.read_text()) | scaling))
    engine = loaded(copied)
    pipe = pipeline(engine)
    request = dataclasses.replace(REQUEST, reference=START)
    with torch.no_grad(), finished(engine) as rows:
        (picture,) = generate(engine, request).pictures
        (row,) = rows
        mean, std = (torch.tensor(scaling[name]).view(1, 4, 1, 1) for name in ("latents_mean", "latents_std"))
        scaled = row.latents * std / pipe.vae.config.scaling_factor + mean
        expected = pipe.image_processor.postprocess(pipe.vae.decode(scaled, return_dict=False)[0])[0]
        assert latents.decode(pipe, row.latents).tobytes() == expected.tobytes()
    assert torch.equal(row.latents, theirs(engine, request))
    assert picture.png


def test_a_model_that_takes_the_guidance_scale_as_an_input_equals_the_pipeline(copied: Path) -> None:
    """Models for few steps are such; under guidance they need one run of the UNet."""
    config = copied / "unet/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"time_cond_proj_dim": 32}))
    weights = load_file(copied / UNET)
    width = weights["time_embedding.linear_1.weight"].shape[1]
    weights["time_embedding.cond_proj.weight"] = torch.randn(width, 32, generator=torch.Generator().manual_seed(1))
    save_file(weights, copied / UNET, metadata={"format": "pt"})
    engine = loaded(copied)
    request = dataclasses.replace(REQUEST, seeds=(5, 6))
    made = ours(engine, request)
    assert torch.equal(made, theirs(engine, request))
    assert not torch.equal(made, ours(engine, dataclasses.replace(request, guidance_scale=3.0)))


async def several(engine: SdxlEngine, *requests: ImageRequest) -> list[Pictures]:
    return await asyncio.gather(*(generated(engine, request) for request in requests))


JOBS = [
    REQUEST,
    dataclasses.replace(REQUEST, steps=7, scheduler="unipc", seeds=(1, 2)),
    dataclasses.replace(REQUEST, guidance_scale=1.0, scheduler="euler_ancestral"),
    dataclasses.replace(REQUEST, reference=START, scheduler="dpmpp_2m", steps=5),
    dataclasses.replace(REQUEST, width=64, weighted=True, prompt="a (blue:1.4) boat", scheduler="ddim"),
]


def test_a_job_among_others_draws_what_it_draws_alone(engine: SdxlEngine) -> None:
    alone = [generate(engine, request) for request in JOBS]
    assert asyncio.run(several(engine, *JOBS, *reversed(JOBS))) == [*alone, *reversed(alone)]


def test_a_job_that_computes_no_numbers_fails_alone(engine: SdxlEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = pipeline(engine).unet.forward

    def spoilt(sample: torch.Tensor, *args: Any, **options: Any) -> Any:
        (noise,) = forward(sample, *args, **options)
        return (noise * float("nan") if sample.shape[-1] == 8 else noise,)  # of the job that is 64 pixels wide

    monkeypatch.setattr(pipeline(engine).unet, "forward", spoilt)

    async def run() -> list[Any]:
        return await asyncio.gather(*(generated(engine, request) for request in JOBS), return_exceptions=True)

    ended = asyncio.run(run())
    assert [type(end) for end in ended] == [Pictures, Pictures, Pictures, Pictures, EngineFailed]


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
def test_a_job_that_does_not_fit_into_the_memory_fails_alone(
    engine: SdxlEngine, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    module, fails = getattr(pipeline(engine), part), [True]
    name = "decode" if part == "vae" else "forward"
    real = getattr(module, name)

    def fail_once(*args: Any, **options: Any) -> Any:
        if fails:
            fails.pop()
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args, **options)

    monkeypatch.setattr(module, name, fail_once)

    async def run() -> list[Any]:
        return await asyncio.gather(*(generated(engine, REQUEST) for _ in range(3)), return_exceptions=True)

    ended = asyncio.run(run())
    assert sorted(type(end).__name__ for end in ended) == ["OutOfMemory", "Pictures", "Pictures"]
    (failed,) = (end for end in ended if isinstance(end, OutOfMemory))
    assert str(failed) == "1 images of 72x64 do not fit into the memory of this worker"
    assert draw(engine)


def test_a_job_that_is_left_does_not_disturb_the_others(engine: SdxlEngine) -> None:
    alone = generate(engine, REQUEST)

    async def leave(request: ImageRequest) -> None:
        async with contextlib.aclosing(engine.generate(request)) as events:
            async for event in events:
                if isinstance(event, Step) and event.phase is Phase.DENOISING:
                    break

    async def run() -> list[Any]:
        long = dataclasses.replace(REQUEST, steps=50)
        return await asyncio.gather(*(leave(long) for _ in range(3)), generated(engine, REQUEST))

    assert asyncio.run(run())[-1] == alone
    assert engine._loop.idle
