"""The image engine on diffusers' StableDiffusionXLPipeline.

Every request runs on a shallow copy of the loaded pipeline: the weights are shared, while the scheduler and everything
else a run writes to belong to that run alone.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import diffusers
import torch
import transformers
from PIL import Image

from atelier.contracts.errors import CapabilityMissing, InvalidRequest, ModelUnusable, Violation
from sdxl_service import png
from sdxl_service.engine import latents, loading
from sdxl_service.engine.conditioning import condition
from sdxl_service.seam import ImageRequest, LoadedModel, Phase, Picture, Pictures, Reference, Report, Step
from shared import engine
from shared.model_files import first_line, real_name
from shared.tokens import Counter, TokenCount
from shared.worker_configs import ModelConfig

# SDXL's latents are not bounded, so DDIM may not clip them as it would clip pixels.
SCHEDULERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "ddim": (diffusers.DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
}
# What every SDXL model can do beyond a picture from a prompt. Keeping the style or the character alone of a reference
# takes an adapter beside the model.
CAPABILITIES = ("compel", "reference_composition")
MIN_SIDE = 64
MAX_PIXELS = 2048 * 2048
SELF_TEST = ImageRequest("a self-test", "", MIN_SIDE, MIN_SIDE, steps=2, guidance_scale=2.0, seeds=(0,))


class DiffusersEngine:
    """The real engine. See `seam.Engine`."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._device = torch.device("cpu")
        self._pipeline: Any = None
        self._from_picture: Any = None
        self._model: LoadedModel | None = None
        self._counters: list[Counter] = []

    @property
    def model(self) -> LoadedModel:
        assert self._model is not None, "load() first"
        return self._model

    def device_memory_mb(self) -> tuple[int, int]:
        return engine.device_memory_mb(self._device)

    def count_tokens(self, texts: Sequence[str]) -> list[TokenCount]:
        return [counter.count(texts) for counter in self._counters]

    def load(self) -> None:
        engine.quieten(diffusers, transformers)
        self._device = engine.choose_device(self._config.device)
        dtype = engine.choose_dtype(self._config.dtype, self._device)
        self._pipeline = loading.prepare(loading.read(self._config.source, dtype), self._device, self._config)
        self._from_picture = loading.from_picture(self._pipeline)
        self._model = LoadedModel(
            real_name=real_name(self._config.source),
            device=str(self._device),
            dtype=str(dtype).removeprefix("torch."),
            capabilities=CAPABILITIES,
            size_multiple=self._pipeline.vae_scale_factor,
            min_side=MIN_SIDE,
            max_pixels=MAX_PIXELS,
        )
        pipe = self._pipeline
        pairs = {"clip_l": (pipe.tokenizer, pipe.text_encoder), "clip_g": (pipe.tokenizer_2, pipe.text_encoder_2)}
        self._counters = [_counter(name, *pair) for name, pair in pairs.items()]
        self._self_test()

    def _self_test(self) -> None:
        try:
            drawn = self.generate(SELF_TEST, lambda step: None).pictures[0]
            from_it = replace(SELF_TEST, weighted=True, weights="(sea:1.2)", reference=Reference(drawn.png, 0.5))
            self.generate(from_it, lambda step: None)
        except Exception as error:  # whatever it is, the operator reads one line
            raise ModelUnusable(f"{self._config.source}: draws nothing: {first_line(error)}") from error

    def generate(self, request: ImageRequest, report: Report) -> Pictures:
        self._refuse_impossible(request)
        what = f"{len(request.seeds)} images of {request.width}x{request.height}"
        return engine.within_memory(self._device, lambda: self._generate(request, report), what)

    def _refuse_impossible(self, request: ImageRequest) -> None:
        multiple, skip = self.model.size_multiple, request.clip_skip or 0
        layers = min(e.config.num_hidden_layers for e in (self._pipeline.text_encoder, self._pipeline.text_encoder_2))
        if request.width % multiple or request.height % multiple:
            size = f"{request.width}x{request.height}"
            raise InvalidRequest(Violation("resolution", f"both sides must be multiples of {multiple}, got {size}"))
        if request.scheduler not in SCHEDULERS:
            raise InvalidRequest(Violation("scheduler", f"must be one of {', '.join(SCHEDULERS)}"))
        if request.reference and not 1 <= int(request.steps * request.reference.denoise) <= request.steps:
            given = f"{request.reference.denoise:g} of {request.steps} steps"
            raise InvalidRequest(Violation("denoise", f"must be at most 1.0 and leave one step or more, got {given}"))
        if request.reference and f"reference_{request.reference.kept}" not in CAPABILITIES:
            raise CapabilityMissing(f"reference: {self.model.real_name} cannot keep {request.reference.kept} alone")
        if request.weights and not request.weighted:
            raise InvalidRequest(Violation("weights", "have no effect unless the request is weighted"))
        if skip >= layers:
            raise InvalidRequest(
                Violation("clip_skip", f"must be under {layers}, the layers of this model, got {skip}")
            )

    @torch.no_grad()
    def _generate(self, request: ImageRequest, report: Report) -> Pictures:
        report(Step(Phase.ENCODING))
        pipeline = copy.copy(self._from_picture if request.reference else self._pipeline)
        scheduler, settings = SCHEDULERS[request.scheduler]
        pipeline.scheduler = scheduler.from_config(self._pipeline.scheduler.config, **settings)
        denoised, steps = _denoise(pipeline, request, report)
        pictures = []
        for index, seed in enumerate(request.seeds):
            report(Step(Phase.DECODING, index, len(request.seeds)))
            image = latents.decode(pipeline, denoised[index : index + 1])
            guidance_scale = float(pipeline.guidance_scale)
            pictures.append(self._picture(image, request, steps, guidance_scale, seed))
        kept = request.reference.kept if request.reference else ""
        return Pictures(tuple(pictures), engine.peak_memory_mb(self._device), request.weighted, kept)

    def _picture(
        self, image: Image.Image, request: ImageRequest, steps: int, guidance_scale: float, seed: int
    ) -> Picture:
        parameters = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "steps": steps,
            "guidance_scale": guidance_scale,
            "seed": seed,
            "scheduler": request.scheduler,
            "clip_skip": request.clip_skip or 0,
            "model": self.model.real_name,
        }
        if request.weighted:
            parameters["weights"] = request.weights
        if request.reference:
            parameters["denoise"] = request.reference.denoise
        encoded = png.encode(image, parameters)
        width, height = png.size(encoded)
        return Picture(encoded, width, height, steps, guidance_scale, seed)


def _counter(name: str, tokenizer: Any, text_encoder: Any) -> Counter:
    limit = min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings)
    return Counter(name, tokenizer.backend_tokenizer, limit)


def _denoise(pipeline: Any, request: ImageRequest, report: Report) -> tuple[torch.Tensor, int]:
    """Latents of shape (images, channels, height / 8, width / 8), and the number of steps that ran."""
    steps = 0

    def on_step_end(_: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        nonlocal steps
        steps += 1
        report(Step(Phase.DENOISING, steps, pipeline.num_timesteps))
        return {}

    denoised = pipeline(
        **condition(pipeline, request, report),
        **_start(pipeline, request),
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        clip_skip=request.clip_skip or None,
        num_images_per_prompt=len(request.seeds),
        # One generator each, on the CPU: an image depends neither on its neighbours nor on the device's random numbers.
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in request.seeds],
        output_type="latent",
        callback_on_step_end=on_step_end,
    ).images
    return denoised, steps


def _start(pipeline: Any, request: ImageRequest) -> dict[str, Any]:
    """The pipeline's arguments for what it starts from: noise of a size, or a picture under some of it."""
    if request.reference is None:
        return {"width": request.width, "height": request.height}
    return {"image": latents.encode(pipeline, request), "strength": request.reference.denoise}
