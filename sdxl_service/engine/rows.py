"""One image on its way: what the UNet is told for it, its own scheduler, and its latents.

Everything before the first step is done by the pipeline's own methods, in the order in which its `__call__` does it, so
that a row equals what the pipeline would have made of it, to the bit.
"""

import copy
import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from sdxl_service.engine import latents, schedulers
from sdxl_service.engine.checkpoint import Checkpoint
from sdxl_service.engine.interface import ImageRequest
from sdxl_service.engine.prompts import condition
from shared.worker.engine import Report


class Condition(NamedTuple):
    """What one UNet row is told: `words` (1, 77 n, features), `pooled` (1, features), `time_ids` (1, 6)."""

    words: torch.Tensor
    pooled: torch.Tensor
    time_ids: torch.Tensor


@dataclass
class Row:
    """One image. `latents` has shape (1, channels, height / 8, width / 8).

    `unwanted` is there under guidance only; `guidance_embedding` (1, features) only for models that take the scale as
    an input. `index` counts the images of a request.
    """

    request: ImageRequest
    checkpoint: Checkpoint
    index: int
    wanted: Condition
    unwanted: Condition | None
    guidance_embedding: torch.Tensor | None
    scheduler: Any
    timesteps: torch.Tensor
    step_options: dict[str, Any]
    latents: torch.Tensor
    done: int = 0

    @property
    def total(self) -> int:
        return len(self.timesteps)

    @property
    def seed(self) -> int:
        return self.request.seeds[self.index]


def begin(checkpoint: Checkpoint, request: ImageRequest, report: Report) -> list[Row]:
    """The rows of a request, one for each seed, before their first step."""
    pipeline = copy.copy(checkpoint.from_picture if request.reference else checkpoint.pipeline)
    # What the pipeline's methods look up of the call they are part of.
    pipeline._guidance_scale = request.guidance_scale
    wanted, unwanted = _conditions(pipeline, request, report)
    picture = latents.encode(pipeline, request) if request.reference else None
    rows = []
    for index, seed in enumerate(request.seeds):
        pipeline.scheduler = schedulers.make(request.scheduler, checkpoint.pipeline.scheduler.config)
        # On the CPU: an image depends neither on its neighbours nor on the device's random numbers.
        generator = torch.Generator("cpu").manual_seed(seed)
        timesteps, start = _start(pipeline, request, wanted.words.dtype, picture, generator)
        options = pipeline.prepare_extra_step_kwargs(generator, 0.0)
        embedding = _guidance_embedding(pipeline, start)
        rows.append(
            Row(request, checkpoint, index, wanted, unwanted, embedding, pipeline.scheduler, timesteps, options, start)
        )
    return rows


def _conditions(pipeline: Any, request: ImageRequest, report: Report) -> tuple[Condition, Condition | None]:
    """What the UNet is told for the prompt, and under guidance for the negative prompt."""
    device, guided = pipeline._execution_device, pipeline.do_classifier_free_guidance
    words, unwanted_words, pooled, unwanted_pooled = pipeline.encode_prompt(
        **{"prompt": None} | condition(pipeline, request, report),
        device=device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=guided,
        clip_skip=request.clip_skip or None,
    )
    time_ids, unwanted_time_ids = _time_ids(pipeline, request, words.dtype)
    wanted = Condition(*(tensor.to(device) for tensor in (words, pooled, time_ids)))
    if not guided:
        return wanted, None
    return wanted, Condition(*(tensor.to(device) for tensor in (unwanted_words, unwanted_pooled, unwanted_time_ids)))


def _time_ids(pipeline: Any, request: ImageRequest, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Sizes and crop as SDXL was trained to be told, for the prompt and for the negative prompt."""
    size, corner, width = (request.height, request.width), (0, 0), pipeline.text_encoder_2.config.projection_dim
    if not request.reference:
        time_ids = pipeline._get_add_time_ids(size, corner, size, dtype=dtype, text_encoder_projection_dim=width)
        return time_ids, time_ids
    defaults = inspect.signature(pipeline.__call__).parameters
    scores = (defaults[name].default for name in ("aesthetic_score", "negative_aesthetic_score"))
    found: tuple[torch.Tensor, torch.Tensor] = pipeline._get_add_time_ids(
        size, corner, size, *scores, size, corner, size, dtype=dtype, text_encoder_projection_dim=width
    )
    return found


def _start(
    pipeline: Any, request: ImageRequest, dtype: torch.dtype, picture: torch.Tensor | None, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The timesteps that a row goes through and the latents it starts with: noise, or a picture under some of it."""
    device, scheduler = pipeline._execution_device, pipeline.scheduler
    scheduler.set_timesteps(request.steps, device=device)
    if picture is None or not request.reference:
        channels = pipeline.unet.config.in_channels
        start = pipeline.prepare_latents(1, channels, request.height, request.width, dtype, device, generator, None)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        return scheduler.timesteps, start
    timesteps, _ = pipeline.get_timesteps(request.steps, request.reference.denoise, device)
    return timesteps, pipeline.prepare_latents(picture, timesteps[:1], 1, 1, dtype, device, generator, True)


def _guidance_embedding(pipeline: Any, start: torch.Tensor) -> torch.Tensor | None:
    features = pipeline.unet.config.time_cond_proj_dim
    if features is None:
        return None
    scale = torch.tensor(pipeline.guidance_scale - 1).repeat(1)
    embedding: torch.Tensor = pipeline.get_guidance_scale_embedding(scale, embedding_dim=features).to(start)
    return embedding
