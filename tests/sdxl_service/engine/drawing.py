"""What the tests of the image engine draw, and how they look at it."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sdxl_service.engine import DiffusersEngine
from sdxl_service.seam import ImageRequest, Picture, Step
from shared.worker_configs import ModelConfig

REQUEST = ImageRequest("a red boat", "blurry", 72, 64, steps=3, guidance_scale=7.5, seeds=(5,))


def loaded(source: Path, **config: Any) -> DiffusersEngine:
    engine = DiffusersEngine(ModelConfig(str(source), device="cpu", **config))
    engine.load()
    return engine


def ignore(step: Step) -> None:
    pass


def draw(engine: DiffusersEngine, **changes: Any) -> tuple[Picture, ...]:
    return engine.generate(dataclasses.replace(REQUEST, **changes), ignore).pictures


def pixels(picture: Picture) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.asarray(Image.open(io.BytesIO(picture.png))).astype(np.int16)


def checkered(width: int = 96, height: int = 96) -> bytes:
    """A picture to start from, as a PNG file: fields of 16 pixels, red and blue."""
    image = Image.new("RGB", (width, height), (200, 40, 40))
    for x in range(0, width, 16):
        for y in range(x % 32, height, 32):
            image.paste((40, 40, 200), (x, y, x + 16, y + 16))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def difference(one: Picture, other: Picture) -> float:
    """How far two pictures of one size are apart: the mean over all channels of all pixels, 0 to 255."""
    return float(np.abs(pixels(one) - pixels(other)).mean())
