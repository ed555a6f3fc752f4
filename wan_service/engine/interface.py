"""What the video engine is asked, and what it answers. Plain data, no torch.

`Engine.generate` of this service takes a VideoRequest and ends with a VideoResult. It raises InvalidRequest for what
the model cannot do, OutOfMemory, and EngineFailed when the model makes no picture.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class VideoRequest:
    """What to show with the model of a logical name: a video of `frames` frames, or a still, which has exactly one.

    `width` and `height` in pixels; `fps` frames per second, without meaning for a still; `guidance_scale` 1.0 or less
    means none, and then the negative prompt has no effect; `flow_shift` moves the steps towards the noisy end.
    `guidance_scale_2` is that of a model's second expert, which makes the late steps; None means as the first's.
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    frames: int
    fps: int
    steps: int
    guidance_scale: float
    flow_shift: float
    seed: int
    model: str
    still: bool = False
    guidance_scale_2: float | None = None


@dataclass(frozen=True)
class VideoResult:
    """One MP4 or, for a still, PNG file, with what it is.

    Size, frames, fps and duration (seconds) are read back from `content`; a still has no fps and no duration. Steps and
    guidance are counted or read from what ran. `vram_used` is the peak in MB, 0 without an accelerator.
    """

    content: bytes
    width: int
    height: int
    frames: int
    fps: int | None
    duration: float | None
    steps: int
    guidance_scale: float
    seed: int
    vram_used: int
