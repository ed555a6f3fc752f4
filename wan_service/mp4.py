"""Frames -> an MP4 file, and what such a file really holds.

A frame is height x width x 3 bytes, RGB. Files carry the parameters they were made with as JSON in their comment,
without the prompts.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg

from atelier.contracts.errors import EngineFailed
from wan_service.engine.interface import VideoRequest

Parameters = Mapping[str, object]
FrameSink = Callable[[bytes], None]
# Decodes a whole video into the function it is given, frame after frame.
Decode = Callable[[FrameSink], None]

# Plays in every browser, and starts to play before all of it has arrived: the index comes first.
H264 = ["-preset", "veryfast", "-crf", "20", "-movflags", "+faststart"]
# The comment is given on ffmpeg's command line, which everyone on the machine can see.
UNSEEN = {"prompt", "negative_prompt"}
# How ffmpeg describes the stream, and how it counts.
STREAM = re.compile(r"^ *Stream #0:0.*? Video: .*?, (?P<width>\d+)x(?P<height>\d+)[ ,].*?, (?P<fps>[\d.]+) fps,", re.M)
COUNT = re.compile(r"^frame=(\d+)$", re.M)


@dataclass(frozen=True)
class VideoInfo:
    """What a file holds: size in pixels, frames, and for a video frames per second and seconds."""

    width: int
    height: int
    frames: int
    fps: int | None = None
    duration: float | None = None


def make_video(decode: Decode, request: VideoRequest, parameters: Parameters) -> tuple[bytes, VideoInfo]:
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
def _mp4_writer(path: Path, request: VideoRequest, parameters: Parameters) -> Iterator[FrameSink]:
    """Takes frame after frame into an H.264 file in yuv420p, which is complete when the block is left."""
    comment = json.dumps({name: value for name, value in parameters.items() if name not in UNSEEN})
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (request.width, request.height),
        fps=request.fps,
        codec="libx264",
        quality=None,  # H264 says it
        macro_block_size=1,  # never resize: what the encoder cannot take it shall refuse
        ffmpeg_log_level="error",
        output_params=[*H264, "-metadata", f"comment={comment}"],
    )
    writer.send(None)
    try:
        yield writer.send
    finally:
        writer.close()


def read_mp4(path: Path) -> VideoInfo:
    """Counts the frames that are in the file; the duration follows from them, exact where the container rounds."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-progress", "pipe:1", "-i", str(path)]
    read = subprocess.run(
        [*command, "-map", "0:v:0", "-c", "copy", "-f", "null", "-"], capture_output=True, text=True, check=True
    )
    stream, counts = STREAM.search(read.stderr), COUNT.findall(read.stdout)
    if not stream or not counts:
        raise EngineFailed("the video that was written cannot be read back")
    frames, fps = int(counts[-1]), round(float(stream["fps"]))
    return VideoInfo(int(stream["width"]), int(stream["height"]), frames, fps, frames / fps)
