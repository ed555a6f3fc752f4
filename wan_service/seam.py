"""The seam between servicer and engine: what is asked, what comes back, and what an engine is. Plain data, no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from shared.tokens import TokenCount


@dataclass(frozen=True)
class VideoRequest:
    """What to show: a video of `frames` frames, or a still, which has exactly one.

    `width` and `height` in pixels; `fps` frames per second, without meaning for a still; `guidance_scale` 1.0 or less
    means none, and then the negative prompt has no effect; `flow_shift` moves the steps towards the noisy end.
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
    still: bool = False


class Phase(Enum):
    """What the engine is doing."""

    ENCODING = "encoding"
    DENOISING = "denoising"
    DECODING = "decoding"


@dataclass(frozen=True)
class Step:
    """How far the work is: `step` of `total` are done in this phase; `total` is 0 where steps are not counted."""

    phase: Phase
    step: int = 0
    total: int = 0


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


@dataclass(frozen=True)
class LoadedModel:
    """What was loaded, and what it can do. Sizes in pixels."""

    real_name: str
    device: str
    dtype: str
    capabilities: tuple[str, ...]
    size_multiple: int
    min_side: int
    max_pixels: int


Report = Callable[[Step], None]


class Engine(Protocol):
    """What the servicer needs of an engine."""

    @property
    def model(self) -> LoadedModel:
        """The loaded model; known once `load` has returned."""

    def device_memory_mb(self) -> tuple[int, int]:
        """Memory of the accelerator in MB: in use by all processes on it, and in all; (0, 0) without one."""

    def count_tokens(self, texts: Sequence[str]) -> Sequence[TokenCount]:
        """What each tokenizer of the model makes of the texts; may be called while `generate` runs, by one thread."""

    def load(self) -> None:
        """Load the model and make a first short video with it; blocks. Raises ModelUnusable."""

    def generate(self, request: VideoRequest, report: Report) -> VideoResult:
        """Make the video or still; blocks, one call at a time.

        `report` is called at every phase, after every denoising step and before every decoded piece; what it raises
        ends the work at once and comes out unchanged, and the engine stays usable. Raises InvalidRequest for what
        this model cannot do, OutOfMemory, and EngineFailed when the model makes no picture.
        """
