"""Clips made step by step equal those of diffusers' own pipeline to the bit, alone and among other jobs."""

import asyncio
import contextlib
import copy
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from atelier.contracts.errors import EngineFailed, ModelUnusable, OutOfMemory
from tests.kit.filming import REQUEST, STILL, TRANSFORMER, generate, generated, loaded, pipeline
from wan_service.engine.decode import decode
from wan_service.engine.engine import WanEngine
from wan_service.engine.interface import VideoRequest, VideoResult
from wan_service.engine.rows import Row, makeable, scheduler_like

# diffusers' schedulers still speak to numpy as before its version 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

INDEX = "model_index.json"


def index(folder: Path, **changes: Any) -> None:
    """Changes what a model says of itself."""
    (folder / INDEX).write_text(json.dumps(json.loads((folder / INDEX).read_text()) | changes))


def with_two_experts(folder: Path) -> None:
    """The second is the first, a little worse."""
    shutil.copytree(folder / "transformer", folder / "transformer_2")
    file = folder / "transformer_2" / Path(TRANSFORMER).name
    noise = torch.Generator().manual_seed(1)
    weights = {
        name: weight + 0.1 * weight.std(correction=0) * torch.randn(weight.shape, generator=noise)
        for name, weight in load_file(file).items()
    }
    save_file(weights, file, metadata={"format": "pt"})
    index(folder, transformer_2=["diffusers", "WanTransformer3DModel"], boundary_ratio=0.875)


def with_times_of_tokens(folder: Path) -> None:
    index(folder, expand_timesteps=True)


def with_euler(folder: Path) -> None:
    settings = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(settings))
    index(folder, scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"])


KINDS: dict[str, Callable[[Path], None]] = {
    "one expert": lambda folder: None,
    "two experts": with_two_experts,
    "times of tokens": with_times_of_tokens,
    "euler": with_euler,
}


@pytest.fixture(scope="module", params=list(KINDS))
def of_a_kind(request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory) -> WanEngine:
    folder = shutil.copytree(model, tmp_path_factory.mktemp("kind") / "model")
    KINDS[request.param](folder)
    return loaded(folder)


def theirs(engine: WanEngine, request: VideoRequest) -> torch.Tensor:
    """The latents that the pipeline's own call makes."""
    pipe = copy.copy(pipeline(engine))
    pipe.scheduler = scheduler_like(pipe.scheduler, request.flow_shift)
    made: torch.Tensor = pipe(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        width=request.width,
        height=request.height,
        num_frames=makeable(request.frames, pipe.vae_scale_factor_temporal),
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        guidance_scale_2=request.guidance_scale_2,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        output_type="latent",
    ).frames
    return made


@contextlib.contextmanager
def finished(engine: WanEngine) -> Iterator[list[Row]]:
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


def ours(engine: WanEngine, request: VideoRequest) -> torch.Tensor:
    with finished(engine) as rows:
        generate(engine, request)
    (row,) = rows
    return row.latents


@pytest.mark.parametrize("guidance_scale", [1.0, 6.5])
@pytest.mark.parametrize("frames", [1, 6])
def test_a_clip_equals_that_of_the_pipeline_to_the_bit(
    of_a_kind: WanEngine, guidance_scale: float, frames: int
) -> None:
    request = dataclasses.replace(REQUEST, guidance_scale=guidance_scale, frames=frames, steps=5, flow_shift=3.0)
    assert torch.equal(ours(of_a_kind, request), theirs(of_a_kind, request))


@pytest.fixture
def two_experts(copied: Path) -> WanEngine:
    with_two_experts(copied)
    return loaded(copied)


def test_each_expert_makes_its_steps_with_its_own_guidance(two_experts: WanEngine) -> None:
    calls: list[str] = []
    for name in ("transformer", "transformer_2"):
        expert = getattr(pipeline(two_experts), name)
        expert.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    request = dataclasses.replace(REQUEST, steps=4, flow_shift=3.0, guidance_scale_2=3.0)
    made = ours(two_experts, request)
    assert calls == ["transformer"] * 4 + ["transformer_2"] * 4  # each twice a step, for both prompts
    assert torch.equal(made, theirs(two_experts, request))
    assert not torch.equal(made, ours(two_experts, dataclasses.replace(request, guidance_scale_2=None)))


def test_a_second_expert_that_is_broken_is_one_clear_line(copied: Path) -> None:
    with_two_experts(copied)
    file = copied / "transformer_2" / Path(TRANSFORMER).name
    whole = load_file(file)
    save_file({n: w for n, w in whole.items() if n != "proj_out.weight"}, file, metadata={"format": "pt"})
    with pytest.raises(ModelUnusable, match=r"weights are missing, such as proj_out.weight of the transformer_2$"):
        loaded(copied)
    save_file(whole | {"proj_out.bias": whole["proj_out.bias"] * float("nan")}, file, metadata={"format": "pt"})
    with pytest.raises(ModelUnusable, match=r"makes no video: the model computed no picture but not-a-numbers"):
        loaded(copied)


def test_a_boundary_between_experts_needs_both(copied: Path) -> None:
    index(copied, boundary_ratio=0.875)
    with pytest.raises(ModelUnusable, match=r"parts of the model are missing: transformer_2$"):
        loaded(copied)


def test_a_frame_is_what_the_pipeline_would_have_decoded(engine: WanEngine) -> None:
    pipe, vae = pipeline(engine), pipeline(engine).vae
    (row,) = _rows(engine, REQUEST)
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    with torch.no_grad():
        expected = pipe.video_processor.postprocess_video(vae.decode(row.latents / (1.0 / std) + mean)[0], "np")[0]
    frames: list[bytes] = []
    decode(vae, row.latents, lambda step: None, frames.append)
    made = np.stack([np.frombuffer(frame, np.uint8).reshape(expected.shape[1:]) for frame in frames])
    assert np.abs(made - (expected * 255).round()).max() <= 1  # computed in another order


def _rows(engine: WanEngine, request: VideoRequest) -> list[Row]:
    with finished(engine) as rows:
        generate(engine, request)
    return rows


JOBS = [REQUEST, dataclasses.replace(REQUEST, steps=6, seed=1), STILL, dataclasses.replace(REQUEST, width=96)]


def test_a_job_among_others_makes_what_it_makes_alone(engine: WanEngine) -> None:
    alone = [generate(engine, request) for request in JOBS]

    async def run() -> list[VideoResult]:
        return await asyncio.gather(*(generated(engine, request) for request in JOBS))

    assert asyncio.run(run()) == alone


@pytest.mark.parametrize(
    ("part", "method", "error", "seen"),
    [
        ("text_encoder", "forward", torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        ("transformer", "forward", torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        ("vae", "decode", torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        ("transformer", "forward", EngineFailed("said so"), EngineFailed),
    ],
)
def test_a_job_that_fails_does_so_alone(
    engine: WanEngine, monkeypatch: pytest.MonkeyPatch, part: str, method: str, error: Exception, seen: type[Exception]
) -> None:
    module, fails = getattr(pipeline(engine), part), [True]
    real = getattr(module, method)

    def fail_once(*args: Any, **options: Any) -> Any:
        if fails:
            fails.pop()
            raise error
        return real(*args, **options)

    monkeypatch.setattr(module, method, fail_once)

    async def run() -> list[Any]:
        return await asyncio.gather(*(generated(engine, REQUEST) for _ in range(3)), return_exceptions=True)

    ended = asyncio.run(run())
    assert sorted(type(end).__name__ for end in ended) == sorted([seen.__name__, "VideoResult", "VideoResult"])
    assert engine._loop.idle
