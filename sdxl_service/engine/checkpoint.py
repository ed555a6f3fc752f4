"""A model's files -> pipelines that are ready to draw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from shared.config import ModelConfig
from shared.torch import checkpoints, runtime
from shared.worker.engine import Model
from shared.worker.tokens import Counter, TokenCount

PIPELINE = "StableDiffusionXLPipeline"
TEXT_ENCODERS = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
# What every SDXL model can do beyond a picture from a prompt. Keeping the style or the character alone of a reference
# takes an adapter beside the model.
CAPABILITIES = ("compel", "reference_composition")
MIN_SIDE = 64
MAX_PIXELS = 2048 * 2048


class Checkpoint:
    """One loaded SDXL model.

    `pipeline` starts from noise, `from_picture` from a picture; both are made of the same parts. Jobs work on shallow
    copies: the weights are shared, whatever else a job writes to is its own.
    """

    def __init__(self, config: ModelConfig, pipeline: Any, device: torch.device, dtype: torch.dtype) -> None:
        self.pipeline, self.from_picture = pipeline, _from_picture(pipeline)
        self.device, self.dtype, self.offloaded = device, dtype, config.cpu_offload
        self.model = Model(
            name=config.name,
            real_name=checkpoints.real_name(config.source),
            capabilities=CAPABILITIES,
            size_multiple=pipeline.vae_scale_factor,
            min_side=MIN_SIDE,
            max_pixels=MAX_PIXELS,
        )
        encoders = pipeline.text_encoder, pipeline.text_encoder_2
        self.layers = min(int(encoder.config.num_hidden_layers) for encoder in encoders)
        """Of the text encoder that has fewer."""
        pairs = {"clip_l": (pipeline.tokenizer, encoders[0]), "clip_g": (pipeline.tokenizer_2, encoders[1])}
        self._counters = [_counter(name, *pair) for name, pair in pairs.items()]

    def count_tokens(self, texts: Sequence[str]) -> list[TokenCount]:
        return [counter.count(texts) for counter in self._counters]

    def free_device(self) -> None:
        for pipeline in (self.pipeline, self.from_picture):
            pipeline.maybe_free_model_hooks()


def open_checkpoint(config: ModelConfig, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """Reads a model and puts it where it runs. Raises ModelUnusable."""
    return Checkpoint(config, _prepared(_read(config.source, dtype), device, config), device, dtype)


def _counter(name: str, tokenizer: Any, text_encoder: Any) -> Counter:
    limit = min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings)
    return Counter(name, tokenizer.backend_tokenizer, limit)


def _read(source: str, dtype: torch.dtype) -> Any:
    """The pipeline in main memory. Raises ModelUnusable."""
    path = checkpoints.check(source, PIPELINE)
    loader: Any = getattr(diffusers, PIPELINE)
    options = {"dtype": dtype, "add_watermarker": False}
    if path and path.is_file():
        with checkpoints.readable(source, f"; its configuration may lie in {path.with_suffix('')}"):
            pipeline = loader.from_single_file(str(path), **_layout(path), **options)
    else:
        options |= {"use_safetensors": True, "trust_remote_code": False}
        with checkpoints.readable(source):
            encoders = checkpoints.read_text_encoders(str(path or source), TEXT_ENCODERS, dtype)
            pipeline = loader.from_pretrained(str(path or source), **encoders, **options)
    checkpoints.check_weights(source, pipeline)
    return pipeline


def _layout(file: Path) -> dict[str, str]:
    """Where the configuration of a single file comes from: the folder of the same name beside it, else the hub."""
    folder = file.with_suffix("")
    return {"config": str(folder)} if folder.is_dir() else {}


def _prepared(pipeline: Any, device: torch.device, config: ModelConfig) -> Any:
    """The pipeline where it will run, the way the operator wants it run. Raises ModelUnusable."""
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.to(memory_format=torch.channels_last)  # faster convolutions on both kinds of device
    pipeline.vae.to(memory_format=torch.channels_last)
    if pipeline.vae.dtype == torch.float16:
        pipeline.vae.to(torch.float32)  # SDXL's decoder overflows in float16
    if config.attention_slicing:
        pipeline.enable_attention_slicing("max")  # halves, the default, need two heads
    if config.compile:
        pipeline.unet.compile(fullgraph=True)
    return runtime.placed(pipeline, device, config.cpu_offload)


def _from_picture(pipeline: Any) -> Any:
    """The pipeline that starts from a picture, made of the very parts of this one: nothing is loaded twice.

    Not by diffusers' `from_pipe`, which casts the parts that it takes over to one number format.
    """
    loader: Any = diffusers.StableDiffusionXLImg2ImgPipeline
    zeros = pipeline.config.force_zeros_for_empty_prompt
    found = loader(**pipeline.components, force_zeros_for_empty_prompt=zeros, add_watermarker=False)
    found.set_progress_bar_config(disable=True)
    if device := getattr(pipeline, "_offload_device", None):
        found.enable_model_cpu_offload(device=device)
    return found
