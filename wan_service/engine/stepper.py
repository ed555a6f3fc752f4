"""Makes clips step by step: see `shared/worker/step_loop.py`, whose Stepper this is."""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial

import torch
from PIL import Image

from atelier.contracts.errors import InvalidRequest, Violation
from shared.media import png
from shared.torch.runtime import peak_memory_mb, within_memory
from shared.worker.engine import Phase, Report, Step
from wan_service import mp4
from wan_service.engine.checkpoint import Checkpoint
from wan_service.engine.decode import decode
from wan_service.engine.interface import VideoRequest, VideoResult
from wan_service.engine.rows import Row


class ClipStepper:
    """One row a clip, one clip a step. `checkpoints` by logical name are read whenever a job begins."""

    def __init__(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        self._checkpoints = checkpoints

    @torch.no_grad()
    def begin(self, request: VideoRequest, report: Report) -> list[Row]:
        checkpoint = self._checkpoints[request.model]
        refuse_impossible(checkpoint, request)
        report(Step(Phase.ENCODING))
        begin = partial(checkpoint.kind.begin, checkpoint.pipeline, request)
        return [within_memory(checkpoint.device, begin, _size(request))]

    def key(self, row: Row) -> Hashable:
        return id(row)

    @torch.no_grad()
    def step(self, rows: Sequence[Row]) -> None:
        for row in rows:
            checkpoint = self._checkpoints[row.request.model]
            within_memory(checkpoint.device, partial(_step, checkpoint, row), _size(row.request))

    @torch.no_grad()
    def finish(self, row: Row, report: Report) -> VideoResult:
        checkpoint = self._checkpoints[row.request.model]
        make = _make_still if row.request.still else _make_video
        content, facts = within_memory(checkpoint.device, partial(make, checkpoint, row, report), _size(row.request))
        return VideoResult(
            content,
            **vars(facts),
            steps=row.done,
            guidance_scale=float(row.request.guidance_scale),
            seed=row.request.seed,
            vram_used=peak_memory_mb(checkpoint.device),
        )


def _size(request: VideoRequest) -> str:
    return f"{request.frames} frames of {request.width}x{request.height}"


def _step(checkpoint: Checkpoint, row: Row) -> None:
    """Denoises a row by one step, with the expert whose turn it is."""
    request, time = row.request, row.timesteps[row.done]
    expert, scale = row.pipeline.transformer, request.guidance_scale
    if checkpoint.boundary is not None and time < checkpoint.boundary:
        expert = row.pipeline.transformer_2
        scale = scale if request.guidance_scale_2 is None else request.guidance_scale_2
    inputs = checkpoint.kind.inputs(row, time)
    place = {"step_index": row.done, "sigma": float(row.scheduler.sigmas[row.done]), "num_inference_steps": row.total}
    with expert.cache_context("cond", **place):
        noise = expert(**inputs, encoder_hidden_states=row.words, return_dict=False)[0]
    if row.unwanted is not None:
        with expert.cache_context("uncond", **place):
            without = expert(**inputs, encoder_hidden_states=row.unwanted, return_dict=False)[0]
        noise = without + scale * (noise - without)
    row.latents = row.scheduler.step(noise, time, row.latents, return_dict=False)[0]
    row.done += 1


def _make_video(checkpoint: Checkpoint, row: Row, report: Report) -> tuple[bytes, mp4.VideoInfo]:
    frames = partial(decode, row.pipeline.vae, checkpoint.kind.video(row), report)
    return mp4.make_video(frames, row.request, _parameters(checkpoint, row))


def _make_still(checkpoint: Checkpoint, row: Row, report: Report) -> tuple[bytes, mp4.VideoInfo]:
    """A PNG file of the first frame."""
    frames: list[bytes] = []
    decode(row.pipeline.vae, checkpoint.kind.video(row), report, frames.append)
    image = Image.frombytes("RGB", (row.request.width, row.request.height), frames[0])
    encoded = png.encode(image, _parameters(checkpoint, row))
    return encoded, mp4.VideoInfo(*png.size(encoded), frames=1)


def _parameters(checkpoint: Checkpoint, row: Row) -> dict[str, object]:
    """What the clip was made with, as its file tells it."""
    request = row.request
    parameters: dict[str, object] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "steps": row.done,
        "guidance_scale": float(request.guidance_scale),
        "flow_shift": request.flow_shift,
        "seed": request.seed,
        "model": checkpoint.model.real_name,
    }
    if request.guidance_scale_2 is not None:
        parameters["guidance_scale_2"] = float(request.guidance_scale_2)
    return parameters


def refuse_impossible(checkpoint: Checkpoint, request: VideoRequest) -> None:
    """Raises InvalidRequest for what the model cannot make."""
    multiple = checkpoint.model.size_multiple
    for side in ("width", "height"):
        if getattr(request, side) % multiple:
            given = getattr(request, side)
            raise InvalidRequest(Violation(side, f"must be a multiple of {multiple} for this model, got {given}"))
    if request.still and request.frames != 1:
        raise InvalidRequest(Violation("frames", f"a still has exactly 1, got {request.frames}"))
    if request.guidance_scale_2 is not None and checkpoint.boundary is None:
        raise InvalidRequest(Violation("guidance_scale_2", "has no effect on this model, which has one expert"))
