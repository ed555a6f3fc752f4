"""Where the small models lie, and how one comes into being exactly once."""

import importlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock

KINDS = ("sdxl", "wan", "chat")
# Name and recipe version. Raise the version with every change of a recipe, so that no stale model is reused.
FOLDERS = {"sdxl": "atelier-small-sdxl-3", "wan": "atelier-small-wan-2", "chat": "SmolLM2-135M-Instruct-1"}

Progress = Callable[[str], None]


class SmallModelError(Exception):
    """A small model could not be made; the message is one line that says what to do."""


def cache_root() -> Path:
    """`$ATELIER_CACHE`, or `~/.cache/atelier`."""
    return Path(os.environ.get("ATELIER_CACHE") or Path.home() / ".cache" / "atelier")


def ensure(
    kinds: Iterable[str] = KINDS, cache: Path | None = None, progress: Progress = lambda line: None
) -> dict[str, Path]:
    """Return kind -> model folder, making what is missing.

    Safe to call from several processes at once: one makes the model, the others wait for it. A folder under its final
    name is always complete. Raises `SmallModelError` for an unknown kind or when a model cannot be made.
    """
    models = (cache or cache_root()) / "models"
    return {kind: _ensure_one(kind, models, progress) for kind in kinds}


def _ensure_one(kind: str, models: Path, progress: Progress) -> Path:
    if kind not in FOLDERS:
        raise SmallModelError(f"unknown small model {kind!r}: choose from {', '.join(KINDS)}")
    folder = models / FOLDERS[kind]
    if folder.is_dir():
        return folder
    try:
        models.mkdir(parents=True, exist_ok=True)
        with FileLock(models / f".{folder.name}.lock"):
            if not folder.is_dir():
                _make(kind, folder, progress)
    except OSError as error:
        raise SmallModelError(f"cannot write {folder}: {error}; set ATELIER_CACHE to a folder with room") from error
    return folder


def _make(kind: str, folder: Path, progress: Progress) -> None:
    progress(f"{kind}: making {folder.name}")
    started = time.monotonic()
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        # Imported only here: the recipes import torch, which costs seconds that a warm start need not pay.
        importlib.import_module(f"atelier.small_models.{kind}").make(unfinished)
        _let_others_read(unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    progress(f"{kind}: done in {time.monotonic() - started:.1f} s")


def _let_others_read(folder: Path) -> None:
    """Undo the private modes of temporary folders and of safetensors: a cache may serve several users."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
