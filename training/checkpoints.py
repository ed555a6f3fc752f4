"""Checkpoints that a `kill -9` at any moment leaves whole."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn


def save(file: Path, state: dict[str, Any]) -> None:
    """Write beside `file`, to the disk, and only then under its name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    with unfinished.open("wb") as out:
        torch.save(state, out)
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(file)


def load(file: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Returns the state, or None where there is none yet."""
    if not file.exists():
        return None
    state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    return state


def note(file: Path, progress: dict[str, float]) -> None:
    """Keep how far the checkpoint is where it can be read without reading all of it."""
    notes = file.with_suffix(".json")
    unfinished = notes.with_name(f".{notes.name}")
    unfinished.write_text(json.dumps(progress) + "\n")
    unfinished.replace(notes)


def progress(file: Path) -> dict[str, float]:
    """Returns step, samples and seconds of the checkpoint `file`; zeros where there is none."""
    notes = file.with_suffix(".json")
    found: dict[str, float] = {"step": 0, "samples": 0, "seconds": 0.0}
    if file.exists() and notes.exists():
        found |= json.loads(notes.read_text())
    return found


def save_picture(file: Path, picture: Image.Image) -> None:
    """Replace `file` at once, so that a viewer never finds half a picture."""
    unfinished = file.with_name(f".{file.name}")
    picture.save(unfinished, format="PNG")
    unfinished.replace(file)


def load_averaged(file: Path, modules: dict[str, nn.Module]) -> None:
    """Put the averaged weights of the checkpoint into `modules`; without a checkpoint nothing happens."""
    state = load(file)
    if state is None:
        return
    for name, module in modules.items():
        module.load_state_dict(state["modules"][name])
    with torch.no_grad():
        for name, module in modules.items():
            for key, parameter in module.named_parameters():
                if (average := state["averages"].get(f"{name}.{key}")) is not None:
                    parameter.copy_(average)
