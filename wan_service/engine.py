"""The video engine on diffusers' WanPipeline.

Every request runs on a shallow copy of the loaded pipeline: the weights are shared, while the scheduler and everything
else a run writes to belong to that run alone.
"""

import copy
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import diffusers
import torch
import transformers
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from diffusers.pipelines.wan.pipeline_wan import prompt_clean

from atelier.contracts.errors import EngineFailed, InvalidRequest, ModelUnusable, Violation
from shared import engine
from shared.model_files import check, first_line, real_name
from shared.tokens import Counter, TokenCount
from shared.worker_configs import ModelConfig
from wan_service import media
from wan_service.seam import LoadedModel, Phase, Report, Step, VideoRequest, VideoResult

PIPELINE = "WanPipeline"
MIN_SIDE = 64
MAX_PIXELS = 1280 * 720
SELF_TEST = VideoRequest("a self-test", "", MIN_SIDE, MIN_SIDE, 5, 8, 1, guidance_scale=2.0, flow_shift=5.0, seed=0)


class DiffusersEngine:
    """The real engine. See `seam.Engine`."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._device = torch.device("cpu")
        self._pipeline: Any = None
        self._model: LoadedModel | None = None
        self._counter: Counter | None = None

    @property
    def model(self) -> LoadedModel:
        assert self._model is not None, "load() first"
        return self._model

    def device_memory_mb(self) -> tuple[int, int]:
        return engine.device_memory_mb(self._device)

    def count_tokens(self, texts: Sequence[str]) -> list[TokenCount]:
        assert self._counter is not None, "load() first"
        cleaned = [prompt_clean(text) for text in texts]  # as the pipeline does before it reads them
        found = self._counter.count(cleaned)
        places = zip(texts, cleaned, found.read_characters, strict=True)
        return [replace(found, read_characters=tuple(_place(*place) for place in places))]

    def load(self) -> None:
        engine.quieten(diffusers, transformers)
        self._device = engine.choose_device(self._config.device)
        dtype = engine.choose_dtype(self._config.dtype, self._device)
        self._pipeline = _prepare(_read(self._config.source, dtype), self._device, self._config)
        self._model = LoadedModel(
            real_name=real_name(self._config.source),
            device=str(self._device),
            dtype=str(dtype).removeprefix("torch."),
            capabilities=(),
            # Latents are compressed in space, and then the transformer takes them in patches.
            size_multiple=self._pipeline.vae_scale_factor_spatial * self._pipeline.transformer.config.patch_size[1],
            min_side=MIN_SIDE,
            max_pixels=MAX_PIXELS,
        )
        self._counter = Counter("umt5", self._pipeline.tokenizer.backend_tokenizer, _most_tokens(self._pipeline))
        self._self_test()

    def _self_test(self) -> None:
        try:
            self.generate(SELF_TEST, lambda step: None)
        except Exception as error:  # whatever it is, the operator reads one line
            raise ModelUnusable(f"{self._config.source}: makes no video: {first_line(error)}") from error

    def generate(self, request: VideoRequest, report: Report) -> VideoResult:
        self._refuse_impossible(request)
        what = f"{request.frames} frames of {request.width}x{request.height}"
        return engine.within_memory(self._device, lambda: self._generate(request, report), what)

    def _refuse_impossible(self, request: VideoRequest) -> None:
        multiple = self.model.size_multiple
        for side in ("width", "height"):
            if getattr(request, side) % multiple:
                given = getattr(request, side)
                raise InvalidRequest(Violation(side, f"must be a multiple of {multiple} for this model, got {given}"))
        if request.still and request.frames != 1:
            raise InvalidRequest(Violation("frames", f"a still has exactly 1, got {request.frames}"))

    @torch.no_grad()
    def _generate(self, request: VideoRequest, report: Report) -> VideoResult:
        report(Step(Phase.ENCODING))
        pipeline = copy.copy(self._pipeline)
        pipeline.scheduler = _scheduler(self._pipeline.scheduler, request.flow_shift)
        latents, steps = _denoise(pipeline, request, report)
        guidance_scale = float(pipeline.guidance_scale)
        decode = partial(_decode, pipeline.vae, latents, report)
        make = media.make_still if request.still else media.make_video
        content, facts = make(decode, request, self._parameters(request, steps, guidance_scale))
        return VideoResult(
            content,
            **vars(facts),
            steps=steps,
            guidance_scale=guidance_scale,
            seed=request.seed,
            vram_used=engine.peak_memory_mb(self._device),
        )

    def _parameters(self, request: VideoRequest, steps: int, guidance_scale: float) -> dict[str, object]:
        return {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "steps": steps,
            "guidance_scale": guidance_scale,
            "flow_shift": request.flow_shift,
            "seed": request.seed,
            "model": self.model.real_name,
        }


def _most_tokens(pipeline: Any) -> int:
    """How many tokens the pipeline reads where, as here, it is not told."""
    return int(inspect.signature(pipeline.__call__).parameters["max_sequence_length"].default)


def _place(text: str, cleaned: str, read: int) -> int:
    """Where in the text stands what stands at `read` when it is cleaned, which changes hardly more than spaces."""
    if read == len(cleaned):
        return len(text)
    left = len("".join(cleaned[:read].split()))
    for place, letter in enumerate(text):
        if not left:
            return place
        left -= not letter.isspace()
    return len(text)


def _scheduler(scheduler: Any, flow_shift: float) -> Any:
    """A scheduler of the model's own kind with the shift asked for, which flow-matching Euler calls by another name."""
    name = "flow_shift" if "flow_shift" in scheduler.config else "shift"
    return type(scheduler).from_config(scheduler.config, **{name: flow_shift})


def _denoise(pipeline: Any, request: VideoRequest, report: Report) -> tuple[torch.Tensor, int]:
    """Latents of shape (1, channels, frames / 4, height / 8 or 16, width / 8 or 16), and the steps that ran."""
    steps = 0

    def on_step_end(_: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        nonlocal steps
        steps += 1
        report(Step(Phase.DENOISING, steps, pipeline.num_timesteps))
        return {}

    latents = pipeline(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        width=request.width,
        height=request.height,
        num_frames=_makeable(request.frames, pipeline.vae_scale_factor_temporal),
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        output_type="latent",
        callback_on_step_end=on_step_end,
    ).frames
    return latents, steps


def _makeable(frames: int, compression: int) -> int:
    """The least number of the form 4k + 1 that is at least `frames`: Wan makes no other."""
    return -(-(frames - 1) // compression) * compression + 1


def _decode(vae: Any, latents: torch.Tensor, report: Report, take: media.FrameSink) -> None:
    """Hands over frame after frame, each of height x width x 3 bytes, as soon as it is decoded."""
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    latents = latents.to(vae.dtype)
    latents = latents * std.to(latents) + mean.to(latents)
    done, total = 0, latents.shape[2]

    def before_piece(*_: Any) -> None:
        nonlocal done
        report(Step(Phase.DECODING, done, total))
        done += 1

    def after_piece(_: Any, inputs: Any, piece: torch.Tensor) -> torch.Tensor:
        for frame in _pixels(vae, piece):
            take(frame)
        return piece[:, :, :0]  # `decode` joins what it is given: nothing, so that memory does not grow with the length

    hooks = [vae.decoder.register_forward_pre_hook(before_piece), vae.decoder.register_forward_hook(after_piece)]
    try:
        vae.decode(latents)
    finally:
        for hook in hooks:
            hook.remove()
        vae.clear_cache()  # of pieces that later ones build on: large, and of no use to the next video


def _pixels(vae: Any, piece: torch.Tensor) -> Iterator[bytes]:
    """The frames of what the decoder makes of one latent frame: 1 for the first, 4 for any other."""
    video = unpatchify(piece, vae.config.patch_size or 1)[0].transpose(0, 1)
    if not torch.isfinite(video).all():
        raise EngineFailed("the model computed no picture but not-a-numbers; another dtype may help")
    for frame in video:
        scaled = frame.mul(127.5).add_(127.5).round_().clamp_(0, 255)
        yield scaled.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy().tobytes()


def _read(source: str, dtype: torch.dtype) -> Any:
    """The pipeline in main memory. Raises ModelUnusable."""
    path = check(source, PIPELINE)
    if path and path.is_file():
        raise ModelUnusable(f"{source}: a Wan model is a folder or a hub id, not a single file")
    loader: Any = getattr(diffusers, PIPELINE)
    # The decoder stays in float32, in which Wan is published: half precision shows as flicker.
    dtypes = {"default": dtype, "vae": torch.float32}
    try:
        encoder = _text_encoder(str(path or source), dtype)
        pipeline = loader.from_pretrained(
            str(path or source), text_encoder=encoder, dtype=dtypes, use_safetensors=True, trust_remote_code=False
        )
    except ModelUnusable:
        raise
    except Exception as error:  # many libraries, many exceptions; each means the same to the operator
        raise ModelUnusable(f"{source}: {first_line(error)}") from error
    for part in ("transformer", "vae"):
        for name, weight in getattr(pipeline, part).named_parameters():
            if weight.is_meta:
                raise ModelUnusable(f"{source}: weights are missing, such as {name} of the {part}")
    return pipeline


def _text_encoder(source: str, dtype: torch.dtype) -> Any:
    """Loaded apart from the rest, because only so does the library tell which weights it had to make up."""
    encoder, report = transformers.UMT5EncoderModel.from_pretrained(
        source, subfolder="text_encoder", dtype=dtype, use_safetensors=True, output_loading_info=True
    )
    if report["missing_keys"]:
        raise ModelUnusable(f"{source}: weights are missing, such as {min(report['missing_keys'])} of the text_encoder")
    return encoder


def _prepare(pipeline: Any, device: torch.device, config: ModelConfig) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    if config.attention_slicing:
        raise ModelUnusable("ATELIER_ATTENTION_SLICING: this model has no attention that can be sliced")
    if config.compile:
        pipeline.transformer.compile_repeated_blocks(fullgraph=True)
    if not config.cpu_offload:
        return pipeline.to(device)
    engine.offload(pipeline, device)
    return pipeline
