"""Draws images step by step: see `shared/worker/step_loop.py`, whose Stepper this is."""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial

import torch

from atelier.contracts.errors import CapabilityMissing, InvalidRequest, Violation
from sdxl_service.engine import latents, rows
from sdxl_service.engine.checkpoint import CAPABILITIES, Checkpoint
from sdxl_service.engine.interface import ImageRequest, Picture
from sdxl_service.engine.rows import Row
from sdxl_service.engine.schedulers import SCHEDULERS
from shared.media import png
from shared.torch.runtime import within_memory
from shared.worker.engine import Phase, Report, Step


class ImageStepper:
    """One row an image. `checkpoints` by logical name are read whenever a job begins."""

    def __init__(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        self._checkpoints = checkpoints

    @torch.no_grad()
    def begin(self, request: ImageRequest, report: Report) -> list[Row]:
        checkpoint = self._checkpoints[request.model]
        refuse_impossible(checkpoint, request)
        report(Step(Phase.ENCODING))
        return within_memory(checkpoint.device, partial(rows.begin, checkpoint, request, report), _size(request))

    def key(self, row: Row) -> Hashable:
        return row.request.model, row.latents.shape, row.wanted.words.shape

    @torch.no_grad()
    def step(self, rows: Sequence[Row]) -> None:
        within_memory(rows[0].checkpoint.device, partial(_step, rows), _size(rows[0].request))

    @torch.no_grad()
    def finish(self, row: Row, report: Report) -> Picture:
        report(Step(Phase.DECODING, row.index, len(row.request.seeds)))
        decode = partial(latents.decode, row.checkpoint.pipeline, row.latents)
        image = within_memory(row.checkpoint.device, decode, _size(row.request))
        encoded = png.encode(image, _parameters(row))
        return Picture(encoded, *png.size(encoded), row.done, float(row.request.guidance_scale), row.seed)


def _size(request: ImageRequest) -> str:
    return f"{len(request.seeds)} images of {request.width}x{request.height}"


def _step(rows: Sequence[Row]) -> None:
    """Denoises each row by one step, all in one call of the UNet.

    Rows under guidance come first, once for the negative prompt and once for the prompt, as in the pipeline.
    """
    times = [row.timesteps[row.done] for row in rows]
    scaled = [row.scheduler.scale_model_input(row.latents, time) for row, time in zip(rows, times, strict=True)]
    guided = [(place, row.unwanted) for place, row in enumerate(rows) if row.unwanted]
    told = [*guided, *((place, rows[place].wanted) for place, _ in guided)]
    told += [(place, row.wanted) for place, row in enumerate(rows) if not row.unwanted]
    embeddings = [embedding for place, _ in told if (embedding := rows[place].guidance_embedding) is not None]
    predicted = rows[0].checkpoint.pipeline.unet(
        torch.cat([scaled[place] for place, _ in told]),
        torch.stack([times[place] for place, _ in told]),
        encoder_hidden_states=torch.cat([condition.words for _, condition in told]),
        timestep_cond=torch.cat(embeddings) if embeddings else None,
        added_cond_kwargs={
            "text_embeds": torch.cat([condition.pooled for _, condition in told]),
            "time_ids": torch.cat([condition.time_ids for _, condition in told]),
        },
        return_dict=False,
    )[0]
    # By the place of its row: first the prediction for the negative prompt, if there is one, then that for the prompt.
    found: dict[int, list[torch.Tensor]] = {place: [] for place in range(len(rows))}
    for (place, _), noise in zip(told, predicted.split(1), strict=True):
        found[place].append(noise)
    for place, (row, time) in enumerate(zip(rows, times, strict=True)):
        noise = found[place][-1]
        if row.unwanted:
            without = found[place][0]
            noise = without + row.request.guidance_scale * (noise - without)
        row.latents = row.scheduler.step(noise, time, row.latents, **row.step_options, return_dict=False)[0]
        row.done += 1


def _parameters(row: Row) -> dict[str, object]:
    """What the picture was made with, as its file tells it."""
    request = row.request
    parameters: dict[str, object] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "steps": row.done,
        "guidance_scale": float(request.guidance_scale),
        "seed": row.seed,
        "scheduler": request.scheduler,
        "clip_skip": request.clip_skip or 0,
        "model": row.checkpoint.model.real_name,
    }
    if request.weighted:
        parameters["weights"] = request.weights
    if request.reference:
        parameters["denoise"] = request.reference.denoise
    return parameters


def refuse_impossible(checkpoint: Checkpoint, request: ImageRequest) -> None:
    """Raises InvalidRequest or CapabilityMissing for what the model cannot draw."""
    multiple, skip = checkpoint.model.size_multiple, request.clip_skip or 0
    if request.width % multiple or request.height % multiple:
        size = f"{request.width}x{request.height}"
        raise InvalidRequest(Violation("resolution", f"both sides must be multiples of {multiple}, got {size}"))
    if request.scheduler not in SCHEDULERS:
        raise InvalidRequest(Violation("scheduler", f"must be one of {', '.join(SCHEDULERS)}"))
    if request.reference and not 1 <= int(request.steps * request.reference.denoise) <= request.steps:
        given = f"{request.reference.denoise:g} of {request.steps} steps"
        raise InvalidRequest(Violation("denoise", f"must be at most 1.0 and leave one step or more, got {given}"))
    if request.reference and f"reference_{request.reference.kept}" not in CAPABILITIES:
        raise CapabilityMissing(f"reference: {checkpoint.model.real_name} cannot keep {request.reference.kept} alone")
    if request.weights and not request.weighted:
        raise InvalidRequest(Violation("weights", "have no effect unless the request is weighted"))
    if skip >= checkpoint.layers:
        says = f"must be under {checkpoint.layers}, the layers of this model, got {skip}"
        raise InvalidRequest(Violation("clip_skip", says))
