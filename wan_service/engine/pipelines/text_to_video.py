"""A clip from a prompt alone: WanPipeline.

Everything before the first step is done by the pipeline's own methods, in the order in which its `__call__` does it, so
that a row equals what the pipeline would have made of it, to the bit.
"""

import copy
from typing import Any

import torch

from wan_service.engine.interface import VideoRequest
from wan_service.engine.rows import Row, makeable, most_tokens, scheduler_like

CAPABILITIES: tuple[str, ...] = ()
"""What this pipeline can do beyond a video from a prompt."""


def begin(pipeline: Any, request: VideoRequest) -> Row:
    """The row of a request before its first step."""
    pipeline = copy.copy(pipeline)
    device, dtype = pipeline._execution_device, pipeline.transformer.dtype
    guided = request.guidance_scale > 1.0
    words, unwanted = pipeline.encode_prompt(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        do_classifier_free_guidance=guided,
        max_sequence_length=most_tokens(pipeline),
        device=device,
    )
    scheduler = scheduler_like(pipeline.scheduler, request.flow_shift)
    scheduler.set_timesteps(request.steps, device=device)
    latents = pipeline.prepare_latents(
        1,
        pipeline.transformer.config.in_channels,
        request.height,
        request.width,
        makeable(request.frames, pipeline.vae_scale_factor_temporal),
        torch.float32,
        device,
        torch.Generator("cpu").manual_seed(request.seed),
        None,
    )
    scheduler.set_begin_index(0)
    unwanted = unwanted.to(dtype) if guided else None
    return Row(request, pipeline, scheduler, scheduler.timesteps, words.to(dtype), unwanted, latents)


def inputs(row: Row, time: torch.Tensor) -> dict[str, Any]:
    """What a transformer takes for the next step besides the prompt."""
    if row.pipeline.config.expand_timesteps:
        # One time for each token: 2 x 2 latents of a frame.
        tokens = torch.ones_like(row.latents)[0][0][:, ::2, ::2]
        timestep = (tokens * time).flatten().unsqueeze(0).expand(1, -1)
    else:
        timestep = time.expand(1)
    return {"hidden_states": row.latents.to(row.pipeline.transformer.dtype), "timestep": timestep}


def video(row: Row) -> torch.Tensor:
    """The latents that are decoded."""
    return row.latents
