"""The samplers that requests can name, as diffusers' schedulers."""

from typing import Any

import diffusers

# SDXL's latents are not bounded, so DDIM may not clip them as it would clip pixels.
SCHEDULERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "ddim": (diffusers.DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
}


def make(name: str, config: Any) -> Any:
    """A scheduler for one row, for it keeps state from step to step. `config` is that of the model's own scheduler."""
    scheduler, settings = SCHEDULERS[name]
    return scheduler.from_config(config, **settings)
