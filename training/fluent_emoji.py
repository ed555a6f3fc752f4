"""Fluent Emoji flat (Microsoft, MIT licence) as sprites: fetched from npm and drawn once, then kept in the cache."""

import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock
from PIL import Image

from training.sprites import SIDE, SpriteFolder, recoloured
from training.words import COLOURS, OBJECTS

PACKAGE: Final[str] = "@iconify-json/fluent-emoji-flat@1.2.6"


class SpritesMissing(Exception):
    """The icons could not be had; the message says what to do."""


def sprites(cache: Path) -> SpriteFolder:
    """Returns the sprites of every object, drawing them into `cache` when they are not there."""
    names = list(OBJECTS)
    file = cache / f"sprites-{SIDE}-{len(names)}.npy"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        if not file.exists():
            unfinished = file.with_suffix(".part.npy")
            np.save(unfinished, _draw(_icons(cache), names))
            unfinished.rename(file)
    return SpriteFolder(np.load(file, mmap_mode="r"), names)


def _draw(icons: dict[str, Any], names: list[str]) -> np.ndarray:
    rows = []
    for name in names:
        own = _rasterised(icons["icons"][OBJECTS[name][0]]["body"])
        rows.append(np.stack([own, *(recoloured(own, rgb) for rgb in COLOURS.values())]))
    return np.stack(rows)


def _rasterised(body: str) -> np.ndarray:
    try:
        import resvg_py
    except ImportError as error:
        raise SpritesMissing("drawing the icons needs resvg-py: pip install -e '.[training]'") from error
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{body}</svg>'
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, skip_system_fonts=True))
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def _icons(cache: Path) -> dict[str, Any]:
    """The package's icons.json: from the cache, where anyone may put it, or from npm."""
    kept = cache / "fluent-emoji-flat.json"
    if not kept.exists():
        kept.write_bytes(_from_npm())
    icons: dict[str, Any] = json.loads(kept.read_text())
    return icons


def _from_npm() -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise SpritesMissing(f"npm is not installed: install it, or put icons.json of {PACKAGE} into the cache")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or not archives:
            raise SpritesMissing(f"npm cannot fetch {PACKAGE}: {done.stderr.strip()[-200:]}")
        with tarfile.open(archives[0]) as archive:
            member = archive.extractfile("package/icons.json")
            assert member is not None
            return member.read()
