"""What the image engine is asked, and what it answers. Plain data, no torch.

`Engine.generate` of this service takes an ImageRequest and ends with Pictures. It raises InvalidRequest for what the
model cannot do, CapabilityMissing, ReferenceUnusable, OutOfMemory, and EngineFailed when the model makes no picture.
"""

from dataclasses import dataclass

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
    """What to draw with the model of a logical name: one image per seed.

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
    model: str
    scheduler: str = "euler"
    clip_skip: int | None = None
    weighted: bool = False
    weights: str = ""
    reference: Reference | None = None


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
