"""The image engine on diffusers' StableDiffusionXLPipeline.

Every request runs on a shallow copy of the loaded pipeline: the weights are shared, while the scheduler and everything
else a run writes to belong to that run alone.
"""

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from PIL.Image import Image
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sdxl_service import png
from sdxl_service.seam import ImageRequest, LoadedModel, Phase, Picture, Pictures, Report, Step
from shared import engine
from shared.errors import EngineFailed, InvalidRequest, ModelUnusable, OutOfMemory, Violation
from shared.model_files import check, first_line, real_name
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
PIPELINE = "StableDiffusionXLPipeline"
MIN_SIDE = 64
MAX_PIXELS = 2048 * 2048
SELF_TEST = ImageRequest("a self-test", "", MIN_SIDE, MIN_SIDE, steps=2, guidance_scale=2.0, seeds=(0,))


class DiffusersEngine:
    """The real engine. See `seam.Engine`."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._device = torch.device("cpu")
        self._pipeline: Any = None
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
        _quieten_libraries()
        self._device = engine.choose_device(self._config.device)
        dtype = engine.choose_dtype(self._config.dtype, self._device)
        self._pipeline = _prepare(_read(self._config.source, dtype), self._device, self._config)
        self._model = LoadedModel(
            real_name=real_name(self._config.source),
            device=str(self._device),
            dtype=str(dtype).removeprefix("torch."),
            capabilities=(),
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
            self.generate(SELF_TEST, lambda step: None)
        except Exception as error:  # whatever it is, the operator reads one line
            raise ModelUnusable(f"{self._config.source}: draws nothing: {first_line(error)}") from error

    def generate(self, request: ImageRequest, report: Report) -> Pictures:
        self._refuse_impossible(request)
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        try:
            return self._generate(request, report)
        except torch.OutOfMemoryError:
            # Only left the block does the error's traceback let go of the tensors that filled the memory.
            pass
        torch.cuda.empty_cache()
        raise OutOfMemory(
            f"{len(request.seeds)} images of {request.width}x{request.height} do not fit into the memory of this worker"
        )

    def _refuse_impossible(self, request: ImageRequest) -> None:
        multiple, skip = self.model.size_multiple, request.clip_skip or 0
        layers = min(e.config.num_hidden_layers for e in (self._pipeline.text_encoder, self._pipeline.text_encoder_2))
        if request.width % multiple or request.height % multiple:
            size = f"{request.width}x{request.height}"
            raise InvalidRequest(Violation("resolution", f"both sides must be multiples of {multiple}, got {size}"))
        if request.scheduler not in SCHEDULERS:
            raise InvalidRequest(Violation("scheduler", f"must be one of {', '.join(SCHEDULERS)}"))
        if skip >= layers:
            raise InvalidRequest(
                Violation("clip_skip", f"must be under {layers}, the layers of this model, got {skip}")
            )

    @torch.no_grad()
    def _generate(self, request: ImageRequest, report: Report) -> Pictures:
        report(Step(Phase.ENCODING))
        pipeline = copy.copy(self._pipeline)
        scheduler, settings = SCHEDULERS[request.scheduler]
        pipeline.scheduler = scheduler.from_config(self._pipeline.scheduler.config, **settings)
        latents, steps = _denoise(pipeline, request, report)
        pictures = []
        for index, seed in enumerate(request.seeds):
            report(Step(Phase.DECODING, index, len(request.seeds)))
            image = _decode(pipeline, latents[index : index + 1])
            guidance_scale = float(pipeline.guidance_scale)
            pictures.append(self._picture(image, request, steps, guidance_scale, seed))
        return Pictures(tuple(pictures), engine.peak_memory_mb(self._device))

    def _picture(self, image: Image, request: ImageRequest, steps: int, guidance_scale: float, seed: int) -> Picture:
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

    latents = pipeline(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt or None,  # None is what SDXL was trained with for "no prompt"
        width=request.width,
        height=request.height,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        clip_skip=request.clip_skip or None,
        num_images_per_prompt=len(request.seeds),
        # One generator each, on the CPU: an image depends neither on its neighbours nor on the device's random numbers.
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in request.seeds],
        output_type="latent",
        callback_on_step_end=on_step_end,
    ).images
    return latents, steps


def _decode(pipeline: Any, latents: torch.Tensor) -> Image:
    """One picture from latents of shape (1, channels, height / 8, width / 8)."""
    vae = pipeline.vae
    latents = latents.to(vae.dtype) / vae.config.scaling_factor
    if vae.config.latents_mean and vae.config.latents_std:
        mean, std = (
            torch.tensor(v).view(1, -1, 1, 1).to(latents) for v in (vae.config.latents_mean, vae.config.latents_std)
        )
        latents = latents * std + mean
    pixels = vae.decode(latents, return_dict=False)[0]
    if not torch.isfinite(pixels).all():
        raise EngineFailed("the model computed no picture but not-a-numbers; another dtype may help")
    image: Image = pipeline.image_processor.postprocess(pixels)[0]
    return image


def _read(source: str, dtype: torch.dtype) -> Any:
    """The pipeline in main memory. Raises ModelUnusable."""
    path = check(source, PIPELINE)
    loader: Any = getattr(diffusers, PIPELINE)
    options = {"dtype": dtype, "add_watermarker": False}
    try:
        if path and path.is_file():
            pipeline = loader.from_single_file(str(path), **_layout(path), **options)
        else:
            options |= {"use_safetensors": True, "trust_remote_code": False}
            pipeline = loader.from_pretrained(str(path or source), **_text_encoders(path or source, dtype), **options)
    except ModelUnusable:
        raise
    except Exception as error:  # many libraries, many exceptions; each means the same to the operator
        hint = f"; its configuration may lie in {path.with_suffix('')}" if path and path.is_file() else ""
        raise ModelUnusable(f"{source}: {first_line(error)}{hint}") from error
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        for name, weight in getattr(pipeline, part).named_parameters():
            if weight.is_meta:
                raise ModelUnusable(f"{source}: weights are missing, such as {name} of the {part}")
    return pipeline


def _text_encoders(source: Path | str, dtype: torch.dtype) -> dict[str, Any]:
    """Loaded apart from the rest, because only so does the library tell which weights it had to make up."""
    classes = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    found = {}
    for part, cls in classes.items():
        found[part], report = cls.from_pretrained(
            str(source), subfolder=part, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        if report["missing_keys"]:
            raise ModelUnusable(f"{source}: weights are missing, such as {min(report['missing_keys'])} of the {part}")
    return found


def _layout(file: Path) -> dict[str, str]:
    """Where the configuration of a single file comes from: the folder of the same name beside it, else the hub."""
    folder = file.with_suffix("")
    return {"config": str(folder)} if folder.is_dir() else {}


def _prepare(pipeline: Any, device: torch.device, config: ModelConfig) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.to(memory_format=torch.channels_last)  # faster convolutions on both kinds of device
    pipeline.vae.to(memory_format=torch.channels_last)
    if pipeline.vae.dtype == torch.float16:
        pipeline.vae.to(torch.float32)  # SDXL's decoder overflows in float16
    if config.attention_slicing:
        pipeline.enable_attention_slicing("max")  # halves, the default, need two heads
    if config.compile:
        pipeline.unet.compile(fullgraph=True)
    if not config.cpu_offload:
        return pipeline.to(device)
    if device.type == "cpu":
        raise ModelUnusable("ATELIER_CPU_OFFLOAD: there is nothing to offload from when the device is cpu")
    pipeline.enable_model_cpu_offload(device=device)
    return pipeline


def _quieten_libraries() -> None:
    """What they would print while loading is not for a service's log."""
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity(logging.CRITICAL)  # errors come as exceptions too
        library.utils.logging.disable_progress_bar()
