"""The trained weights that the package ships: float16 safetensors, one file a family."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

FOLDER = Path(__file__).parent / "weights"


def shipped(family: str) -> Path:
    """Where the weights of `sdxl` or `wan` lie; the file is missing as long as none were trained."""
    return FOLDER / f"{family}.safetensors"


def read(family: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Returns module -> its state dict in float32, and what training noted about itself; both empty without a file."""
    file = shipped(family)
    if not file.exists():
        return {}, {}
    modules: dict[str, dict[str, Tensor]] = {}
    with safe_open(file, framework="pt") as weights:
        for key in weights.keys():  # noqa: SIM118 it is no dictionary
            module, name = key.split(".", 1)
            modules.setdefault(module, {})[name] = weights.get_tensor(key).to(torch.float32)
        notes = json.loads((weights.metadata() or {}).get("atelier", "{}"))
    return modules, notes
