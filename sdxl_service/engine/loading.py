"""A model's files -> pipelines that are ready to draw."""

from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from atelier.contracts.errors import ModelUnusable
from shared import engine
from shared.model_files import check, first_line
from shared.worker_configs import ModelConfig

PIPELINE = "StableDiffusionXLPipeline"


def read(source: str, dtype: torch.dtype) -> Any:
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


def prepare(pipeline: Any, device: torch.device, config: ModelConfig) -> Any:
    """Puts the pipeline where it will run, the way the operator wants it run. Raises ModelUnusable."""
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
    engine.offload(pipeline, device)
    return pipeline


def from_picture(pipeline: Any) -> Any:
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
