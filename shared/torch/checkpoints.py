"""Model files: what a file or folder is before any weight is read, and reading it. Nothing missing, never pickle."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from atelier.contracts.errors import ModelUnusable

INDEX = "model_index.json"
PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
MAX_REASON = 400  # characters, of which paths take many; some libraries put a whole manual into one line
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def check(source: str, pipeline: str) -> Path | None:
    """The folder or file a model lies in, or None for a hub id. `pipeline` is the class a folder has to be of.

    Raises ModelUnusable when `source` is none of the three or is a model that will not be loaded.
    """
    path = Path(source).expanduser()
    if not source:
        raise ModelUnusable("no model: set ATELIER_MODEL")
    if path.suffix.lower() in PICKLES:
        raise ModelUnusable(f"{source}: pickle files can run code, so they are never loaded; convert it to safetensors")
    if path.is_dir():
        _check_folder(path, pipeline)
        return path
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ModelUnusable(f"{source}: a model file must be .safetensors")
        return path
    if HUB_ID.fullmatch(source) and path.suffix != ".safetensors":
        return None
    raise ModelUnusable(f"{source}: no such folder or file; set ATELIER_MODEL")


def _check_folder(folder: Path, pipeline: str) -> None:
    index = _index(folder)
    if index.get("_class_name") != pipeline:
        raise ModelUnusable(f"{folder}: holds a {index.get('_class_name')}, not a {pipeline}")
    parts = [name for name, value in index.items() if isinstance(value, list) and value and value[0]]
    if missing := [part for part in parts if not (folder / part).is_dir()]:
        raise ModelUnusable(f"{folder}: parts of the model are missing: {', '.join(missing)}")
    if not any(folder.rglob("*.safetensors")):
        pickled = any(path.suffix in PICKLES for path in folder.rglob("*"))
        raise ModelUnusable(f"{folder}: no safetensors weights" + (", only pickled ones" if pickled else ""))


def _index(folder: Path) -> dict[str, object]:
    try:
        index = json.loads((folder / INDEX).read_text())
    except FileNotFoundError:
        raise ModelUnusable(f"{folder}: no {INDEX}, so this is no model folder") from None
    except (OSError, ValueError):
        raise ModelUnusable(f"{folder}: {INDEX} cannot be read") from None
    if not isinstance(index, dict):
        raise ModelUnusable(f"{folder}: {INDEX} cannot be read")
    return index


def real_name(source: str) -> str:
    """What is really loaded: the name in the model's own files, else its folder's or file's name, else the hub id."""
    path = Path(source).expanduser()
    if path.is_file():
        return path.stem
    if not path.is_dir():
        return source
    named = _index(path).get("_name_or_path")
    return named if isinstance(named, str) and named and not Path(named).is_absolute() else path.resolve().name


def first_line(error: BaseException) -> str:
    """The first line of an exception's text that says something, shortened, or the name of its class."""
    return next((line.strip()[:MAX_REASON] for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextlib.contextmanager
def readable(source: str, hint: str = "") -> Iterator[None]:
    """Raises ModelUnusable of one line for whatever the libraries raise in the block; `hint` is added to it."""
    try:
        yield
    except ModelUnusable:
        raise
    except Exception as error:  # many libraries, many exceptions; each means the same to the operator
        raise ModelUnusable(f"{source}: {first_line(error)}{hint}") from error


def read_text_encoders(source: str, classes: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The text encoders of a model by the names of their parts. Raises ModelUnusable if weights are missing.

    Read apart from the rest, because only so does the library tell which weights it had to make up.
    """
    found = {}
    for part, cls in classes.items():
        found[part], report = cls.from_pretrained(
            source, subfolder=part, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        if report["missing_keys"]:
            raise ModelUnusable(f"{source}: weights are missing, such as {min(report['missing_keys'])} of the {part}")
    return found


def check_weights(source: str, pipeline: Any) -> None:
    """Raises ModelUnusable if a part of a pipeline has a parameter that its files do not."""
    for part, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module):
            for name, weight in module.named_parameters():
                if weight.is_meta:
                    raise ModelUnusable(f"{source}: weights are missing, such as {name} of the {part}")
