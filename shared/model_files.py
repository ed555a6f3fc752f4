"""Looks at a diffusers model before any weight is read: nothing missing, never pickle, and the name it really has."""

import json
import re
from pathlib import Path

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
