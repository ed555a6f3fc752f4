"""A model's files -> a pipeline that is ready to make clips."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines.wan.pipeline_wan import prompt_clean

from atelier.contracts.errors import ModelUnusable
from shared.config import ModelConfig
from shared.torch import checkpoints, runtime
from shared.worker.engine import Model
from shared.worker.tokens import Counter, TokenCount
from wan_service.engine.pipelines import PIPELINES
from wan_service.engine.rows import most_tokens

TEXT_ENCODERS = {"text_encoder": transformers.UMT5EncoderModel}
MIN_SIDE = 64
MAX_PIXELS = 1280 * 720


class Checkpoint:
    """One loaded Wan model. `kind` is the module of `pipelines` for its class.

    `boundary` is the timestep below which the second of two experts takes over; None for a model with one.
    """

    def __init__(self, config: ModelConfig, pipeline: Any, device: torch.device, dtype: torch.dtype) -> None:
        self.pipeline, self.kind = pipeline, PIPELINES[type(pipeline).__name__]
        self.device, self.dtype, self.offloaded = device, dtype, config.cpu_offload
        ratio, scheduler = pipeline.config.boundary_ratio, pipeline.scheduler
        self.boundary: float | None = None if ratio is None else ratio * scheduler.config.num_train_timesteps
        self.model = Model(
            name=config.name,
            real_name=checkpoints.real_name(config.source),
            capabilities=self.kind.CAPABILITIES,
            # Latents are compressed in space, and then the transformer takes them in patches.
            size_multiple=pipeline.vae_scale_factor_spatial * pipeline.transformer.config.patch_size[1],
            min_side=MIN_SIDE,
            max_pixels=MAX_PIXELS,
        )
        self._counter = Counter("umt5", pipeline.tokenizer.backend_tokenizer, most_tokens(pipeline))

    def count_tokens(self, texts: Sequence[str]) -> list[TokenCount]:
        cleaned = [prompt_clean(text) for text in texts]  # as the pipeline does before it reads them
        found = self._counter.count(cleaned)
        places = zip(texts, cleaned, found.read_characters, strict=True)
        return [replace(found, read_characters=tuple(_place(*place) for place in places))]

    def free_device(self) -> None:
        self.pipeline.maybe_free_model_hooks()


def open_checkpoint(config: ModelConfig, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """Reads a model and puts it where it runs. Raises ModelUnusable."""
    return Checkpoint(config, _prepared(_read(config.source, dtype), device, config), device, dtype)


def _read(source: str, dtype: torch.dtype) -> Any:
    """The pipeline in main memory. Raises ModelUnusable."""
    [name] = PIPELINES
    path = checkpoints.check(source, name)
    if path and path.is_file():
        raise ModelUnusable(f"{source}: a Wan model is a folder or a hub id, not a single file")
    loader: Any = getattr(diffusers, name)
    # The decoder stays in float32, in which Wan is published: half precision shows as flicker.
    options = {"dtype": {"default": dtype, "vae": torch.float32}, "use_safetensors": True, "trust_remote_code": False}
    with checkpoints.readable(source):
        encoders = checkpoints.read_text_encoders(str(path or source), TEXT_ENCODERS, dtype)
        pipeline = loader.from_pretrained(str(path or source), **encoders, **options)
    checkpoints.check_weights(source, pipeline)
    _check_experts(source, pipeline)
    return pipeline


def _check_experts(source: str, pipeline: Any) -> None:
    needed = ["transformer"] if pipeline.config.boundary_ratio is None else ["transformer", "transformer_2"]
    for part in needed:
        if getattr(pipeline, part) is None:
            raise ModelUnusable(f"{source}: parts of the model are missing: {part}")


def _prepared(pipeline: Any, device: torch.device, config: ModelConfig) -> Any:
    """The pipeline where it will run, the way the operator wants it run. Raises ModelUnusable."""
    pipeline.set_progress_bar_config(disable=True)
    if config.attention_slicing:
        raise ModelUnusable("ATELIER_ATTENTION_SLICING: this model has no attention that can be sliced")
    if config.compile:
        for expert in filter(None, (pipeline.transformer, pipeline.transformer_2)):
            expert.compile_repeated_blocks(fullgraph=True)
    return runtime.placed(pipeline, device, config.cpu_offload)


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
