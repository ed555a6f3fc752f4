"""The seam between servicer and engine: what is asked, what comes back, and what an engine is. Plain data, no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from shared.tokens import TokenCount

# What `ImageRequest.scheduler` may be.
SCHEDULERS = ("euler", "euler_ancestral", "ddim", "dpmpp_2m", "unipc")


@dataclass(frozen=True)
class Reference:
    """A picture to start from: a PNG file, and the share of the steps that is done on it.

    The picture is scaled to cover the size of the request. `int(steps * denoise)` steps run, which must be one or more.
    `kept` says what of it is kept: "composition", "style" or "character", of which the model must be able to.
    """

    content: bytes
    denoise: float
    kept: str = "composition"


@dataclass(frozen=True)
class ImageRequest:
    """What to draw: one image per seed.

    `width` and `height` in pixels; `guidance_scale` 1.0 or less means none, and then the negative prompt has no
    effect; `clip_skip` counts the text encoders' last layers that are left out, None and 0 leave out none. Where
    `weighted`, the weights in all three texts are applied (`atelier.contracts.prompt_weights`), `weights` being more
    words for the prompt; else they are plain text, and `weights` must be empty.
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance_scale: float
    seeds: tuple[int, ...]
    scheduler: str = "euler"
    clip_skip: int | None = None
    weighted: bool = False
    weights: str = ""
    reference: Reference | None = None


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
class Picture:
    """One image, with what it is: the size read from the encoded file, the rest counted or read from what ran."""

    png: bytes
    width: int
    height: int
    steps: int
    guidance_scale: float
    seed: int


@dataclass(frozen=True)
class Pictures:
    """The images of one request, in the order of its seeds; `vram_used` is the peak in MB, 0 without an accelerator.

    By what ran: whether the prompt was read with its weights, and what of a reference was kept, "" without one.
    """

    pictures: tuple[Picture, ...]
    vram_used: int
    weighted: bool = False
    kept: str = ""


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
        """Load the model and draw a first small picture with it; blocks. Raises ModelUnusable."""

    def generate(self, request: ImageRequest, report: Report) -> Pictures:
        """Draw; blocks, one call at a time.

        `report` is called at every phase, before every run of a text encoder where words are weighed, after every
        denoising step and before every decoded image; what it raises ends the work at once and comes out unchanged,
        and the engine stays usable. Raises InvalidRequest for what this model cannot do, ReferenceUnusable,
        OutOfMemory, and EngineFailed when the model makes no picture.
        """
