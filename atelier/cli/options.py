"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Edge = Annotated[
    str, typer.Option(help="The edge, host:port or https://host:port. Default: ATELIER_EDGE, else the running one.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line, for programs.")]
Out = Annotated[Path, typer.Option(help="Folder to save what was made in.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, such as sdxl_image_high_1734567890_abc123.")]
Prompt = Annotated[str, typer.Argument(help="What to make, 1 to 1000 characters.")]
Seed = Annotated[int | None, typer.Option(help="0 to 2147483647. Default: drawn, and reported.")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps. Default: as the type says.")]
Guidance = Annotated[float | None, typer.Option(help="How closely to follow the prompt, 1.0 to 20.0.")]
Negative = Annotated[str | None, typer.Option(help="What not to show.")]

Preset = Annotated[str | None, typer.Option(help="Name of a preset, which fills what you leave out.")]
AspectRatio = Annotated[str | None, typer.Option(help="Shape of the picture, such as 16:9, in place of its size.")]
Quality = Annotated[str | None, typer.Option(help="Name of a quality, whose words are added to the prompt.")]
Style = Annotated[str | None, typer.Option(help="Name of a style, whose words are added to the prompt.")]
Enhance = Annotated[
    bool | None,
    typer.Option("--enhance/--no-enhance", help="Whether a chat model improves the prompt."),
]
ContentMode = Annotated[
    Literal["sfw", "nsfw"] | None,
    typer.Option(help="How explicit it may be, if your tier allows it. Default: sfw."),
]
Priority = Annotated[
    int | None, typer.Option(help="-10 to 10, within what your tier allows; the higher goes first. Default: 0.")
]
Webhook = Annotated[
    str | None, typer.Option(metavar="URL", help="Address that is sent the result, signed, when the job ends.")
]

Strength = Annotated[float | None, typer.Option(help="How much of the reference is kept, 0.0 to 1.0. Default: 0.5.")]
FILE_OR_KEY_OR_URL = "FILE_OR_KEY_OR_URL"


def enhancement(enhance: bool | None) -> str | None:
    """The word of the contract."""
    return None if enhance is None else "on" if enhance else "off"


def given(**options: object) -> dict[str, object]:
    """The options that were given: what is left out, the edge fills."""
    return {name: value for name, value in options.items() if value is not None}
