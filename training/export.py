"""Writes what was trained as the package ships it: averaged weights, float16, one safetensors file a family."""

import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import nn

from atelier.small_models import sdxl_trained, wan_trained, weights
from training import checkpoints
from training.clip_words import ClipWords
from training.fluent_emoji import sprites
from training.plain_decoder import PlainDecoder
from training.sdxl_encoder import patches_of
from training.stages import frozen_sdxl_vae, frozen_wan_vae
from training.task import Device, best_device, training_folder
from training.wan_words import WanWords

MAX_BYTES: Final[dict[str, int]] = {"sdxl": 25_000_000, "wan": 30_000_000}


class ExportError(Exception):
    """Nothing was written; the message says why."""


def export(family: str) -> str:
    """Write `atelier/small_models/weights/<family>.safetensors`; returns a line about it. Raises `ExportError`."""
    folder, device = training_folder(), best_device()
    modules, notes = {"sdxl": _sdxl, "wan": _wan}[family](folder, device)
    file = weights.shipped(family)
    size = write(file, modules, notes)
    if size > MAX_BYTES[family]:
        file.unlink()
        raise ExportError(
            f"{file.name} would be {size:,} bytes, more than the {MAX_BYTES[family]:,} that may be shipped"
        )
    return f"{file}: {size:,} bytes"


def write(file: Path, modules: dict[str, nn.Module], notes: dict[str, Any]) -> int:
    """Returns the size of the file in bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{name}.{key}": value.detach()
        .cpu()
        .to(torch.float16 if value.is_floating_point() else value.dtype)
        .contiguous()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    save_file(tensors, file, metadata={"atelier": json.dumps(notes)})
    return file.stat().st_size


def _sdxl(folder: Path, device: Device) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    words = ClipWords(folder / "clip")
    unet = sdxl_trained.unet()
    first, second = sdxl_trained.text_encoders(words.size)
    modules: dict[str, nn.Module] = {"unet": unet, "text_encoder": first, "text_encoder_2": second}
    _load(folder / "sdxl-unet.pt", modules)
    vae = frozen_sdxl_vae(sprites(folder), folder)
    decoder = PlainDecoder(patches_of(vae))
    _load(folder / "sdxl-decoder.pt", {"decoder": decoder})
    decoder.into(vae)
    modules["vae"] = vae
    # Row 0 of an embedding is the unknown word; the next are these tokens of CLIP's.
    return modules, {"tokens": words.known.tolist(), "samples": _samples(folder, "sdxl-unet")}


def _wan(folder: Path, device: Device) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    words = WanWords()
    modules: dict[str, nn.Module] = {
        "transformer": wan_trained.transformer(),
        "text_encoder": wan_trained.text_encoder(len(words.tokenizer)),
    }
    _load(folder / "wan-vace.pt", modules)
    modules["vae"] = frozen_wan_vae(sprites(folder), folder)
    return modules, {"words": words.words, "samples": _samples(folder, "wan-vace")}


def _load(file: Path, modules: dict[str, nn.Module]) -> None:
    if not file.exists():
        raise ExportError(f"{file.name} is not there yet: train it first, see python -m training status")
    checkpoints.load_averaged(file, modules)


def _samples(folder: Path, stage: str) -> int:
    return int(checkpoints.progress(folder / f"{stage}.pt")["samples"])
