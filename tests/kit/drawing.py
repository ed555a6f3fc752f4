"""What the tests of the image engine draw, and how they look at it."""

import asyncio
import contextlib
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sdxl_service.engine.engine import SdxlEngine
from sdxl_service.engine.interface import ImageRequest, Picture, Pictures
from shared.config import ModelConfig
from shared.worker.engine import Report, Step
from tests.kit.torch_threads import compute_with_one_thread

REQUEST = ImageRequest("a red boat", "blurry", 72, 64, steps=3, guidance_scale=7.5, seeds=(5,), model="sdxl")


def loaded(source: Path | str, device: str = "cpu", **config: Any) -> SdxlEngine:
    engine = SdxlEngine()
    compute_with_one_thread(engine)
    asyncio.run(engine.load(ModelConfig("sdxl", str(source), device=device, **config)))
    return engine


def pipeline(engine: SdxlEngine) -> Any:
    """The pipeline that starts from noise."""
    return engine._checkpoints["sdxl"].pipeline


def ignore(step: Step) -> None:
    pass


def generate(engine: SdxlEngine, request: ImageRequest, report: Report = ignore) -> Pictures:
    """What a job makes. `report` hears of its steps; what it raises ends the job."""
    return asyncio.run(generated(engine, request, report))


async def generated(engine: SdxlEngine, request: ImageRequest, report: Report = ignore) -> Pictures:
    async with contextlib.aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Pictures):
                return event
            report(event)
    raise AssertionError("no pictures")


def draw(engine: SdxlEngine, **changes: Any) -> tuple[Picture, ...]:
    return generate(engine, dataclasses.replace(REQUEST, **changes)).pictures


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
