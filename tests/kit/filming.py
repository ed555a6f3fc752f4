"""What the tests of the video engine make, and how they look at it."""

import asyncio
import contextlib
import dataclasses
import io
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from PIL import Image

from shared.config import ModelConfig
from shared.worker.engine import Report, Step
from tests.kit.torch_threads import compute_with_one_thread
from wan_service.engine.engine import WanEngine
from wan_service.engine.interface import VideoRequest, VideoResult

REQUEST = VideoRequest(
    "a red boat", "blurry", 64, 96, frames=5, fps=8, steps=3, guidance_scale=6.5, flow_shift=5.0, seed=5, model="wan"
)
STILL = dataclasses.replace(REQUEST, frames=1, still=True)
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


def loaded(source: Path | str, device: str = "cpu", **config: Any) -> WanEngine:
    engine = WanEngine()
    compute_with_one_thread(engine)
    asyncio.run(engine.load(ModelConfig("wan", str(source), device=device, **config)))
    return engine


def pipeline(engine: WanEngine) -> Any:
    return engine._checkpoints["wan"].pipeline


def ignore(step: Step) -> None:
    pass


def generate(engine: WanEngine, request: VideoRequest, report: Report = ignore) -> VideoResult:
    """What a job makes. `report` hears of its steps; what it raises ends the job."""
    return asyncio.run(generated(engine, request, report))


async def generated(engine: WanEngine, request: VideoRequest, report: Report = ignore) -> VideoResult:
    async with contextlib.aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, VideoResult):
                return event
            report(event)
    raise AssertionError("no video")


def make(engine: WanEngine, request: VideoRequest = REQUEST, **changes: Any) -> VideoResult:
    return generate(engine, dataclasses.replace(request, **changes))


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A video file as ffmpeg itself sees it."""

    size: tuple[int, int]
    frames: list[bytes]
    seconds_between_frames: set[float]
    codec: str


def decoded(film: VideoResult, folder: Path) -> Decoded:
    path = folder / "decoded.mp4"
    path.write_bytes(film.content)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-vf", "showinfo", "-fps_mode", "passthrough"]
    ran = subprocess.run([*command, "-pix_fmt", "rgb24", "-f", "rawvideo", "-"], capture_output=True, check=True)
    shown = ran.stderr.decode()
    sizes = {(int(width), int(height)) for width, height in re.findall(r"pts_time:.* s:(\d+)x(\d+)", shown)}
    times = [float(time) for time in re.findall(r"pts_time:([\d.]+)", shown)]
    ((width, height),) = sizes
    length = width * height * 3
    frames = [ran.stdout[start : start + length] for start in range(0, len(ran.stdout), length)]
    gaps = {round(after - before, 3) for before, after in pairwise(times)}
    codec = re.search(r"^ *Stream #0:0.* Video: (\w+).*?(yuv\w+)", shown, re.M)
    assert codec
    return Decoded((width, height), frames, gaps, f"{codec[1]} {codec[2]}")


def pixels(still: VideoResult) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.asarray(Image.open(io.BytesIO(still.content))).astype(np.int16)
