"""Frames -> an MP4 or PNG file, and what such a file really holds.

A frame is height x width x 3 bytes, RGB. Files carry the parameters they were made with as JSON: an MP4 in its comment,
a PNG in the text chunk "parameters".
"""

import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from wan_service.seam import VideoRequest

Parameters = Mapping[str, object]
Take = Callable[[bytes], None]
# Decodes a whole video into the function it is given, frame after frame.
Decode = Callable[[Take], None]

# Plays in every browser, and starts to play before all of it has arrived: the index comes first.
H264 = ["-preset", "veryfast", "-crf", "20", "-movflags", "+faststart"]


@dataclass(frozen=True)
class Facts:
    """What a file holds: size in pixels, frames, and for a video frames per second and seconds."""

    width: int
    height: int
    frames: int
    fps: int | None = None
    duration: float | None = None


def make_video(decode: Decode, request: VideoRequest, parameters: Parameters) -> tuple[bytes, Facts]:
    """An MP4 file of exactly the frames asked for, which are the first of those that `decode` makes."""
    left = request.frames
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with _mp4_writer(path, request, parameters) as write:

            def take(frame: bytes) -> None:
                nonlocal left
                if left > 0:
                    write(frame)
                left -= 1

            decode(take)
        return path.read_bytes(), read_mp4(path)


@contextmanager
def _mp4_writer(path: Path, request: VideoRequest, parameters: Parameters) -> Iterator[Take]:
    """Takes frame after frame into an H.264 file in yuv420p, which is complete when the block is left."""
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (request.width, request.height),
        fps=request.fps,
        codec="libx264",
        quality=None,  # H264 says it
        macro_block_size=1,  # never resize: what the encoder cannot take it shall refuse
        ffmpeg_log_level="error",
        output_params=[*H264, "-metadata", f"comment={json.dumps(parameters)}"],
    )
    writer.send(None)
    try:
        yield writer.send
    finally:
        writer.close()


def read_mp4(path: Path) -> Facts:
    """Counts the frames that are in the file; the duration follows from them, exact where the container rounds."""
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    reader = imageio_ffmpeg.read_frames(str(path))
    facts: dict[str, Any] = next(reader)
    reader.close()
    (width, height), fps = facts["source_size"], round(facts["fps"])
    return Facts(width, height, frames, fps, frames / fps)


def make_still(decode: Decode, request: VideoRequest, parameters: Parameters) -> tuple[bytes, Facts]:
    """A PNG file of the first frame that `decode` makes."""
    frames: list[bytes] = []
    decode(frames.append)
    info, buffer = PngInfo(), io.BytesIO()
    info.add_text("parameters", json.dumps(parameters))
    Image.frombytes("RGB", (request.width, request.height), frames[0]).save(buffer, "PNG", pnginfo=info)
    with Image.open(buffer) as image:
        return buffer.getvalue(), Facts(*image.size, frames=1)
