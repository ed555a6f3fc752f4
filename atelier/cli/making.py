"""Commands that make something: image, video, submit, upload, retry, chat."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from atelier import requests
from atelier.cli import options
from atelier.cli.following import Following
from atelier.cli.running import run
from atelier.cli.screen import Screen, screen
from atelier.client import AsyncClient
from atelier.requests import ChatOptions, Messages, SubmitOptions, Submittable


def image(
    prompt: options.Prompt,
    type: Annotated[str, typer.Option(help="sdxl_image_fast or sdxl_image_high.")] = "sdxl_image_high",
    num_images: Annotated[int | None, typer.Option("--num-images", "-n", help="1, 3 or 6.")] = None,
    resolution: Annotated[str | None, typer.Option(help="Width x height, such as 1024x1024.")] = None,
    steps: options.Steps = None,
    guidance_scale: options.Guidance = None,
    seed: options.Seed = None,
    negative_prompt: options.Negative = None,
    scheduler: Annotated[str | None, typer.Option(help="euler, euler_ancestral, ddim, dpmpp_2m or unipc.")] = None,
    clip_skip: Annotated[int | None, typer.Option(help="Last layers of the text encoder to skip, 0 to 4.")] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="WORDS", help='More words, with weights: "(red:1.3), (fog)0.5".')
    ] = None,
    compel: Annotated[
        bool | None,
        typer.Option(
            "--compel/--no-compel", help="Apply weights in the prompts, such as (red:1.3). On with --weights."
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar=options.FILE_OR_KEY_OR_URL,
            help="Picture to start from: a file here, which is uploaded, the key of an asset of yours, or a URL.",
        ),
    ] = None,
    reference_strength: options.Strength = None,
    reference_type: Annotated[
        str | None, typer.Option(help="composition, style or character. Default: composition.")
    ] = None,
    reference_use: Annotated[
        Literal["copy", "modify"] | None,
        typer.Option(help="copy: the same picture again. modify: the same picture with the prompt's change."),
    ] = None,
    preset: options.Preset = None,
    aspect_ratio: options.AspectRatio = None,
    quality: options.Quality = None,
    style: options.Style = None,
    enhance: options.Enhance = None,
    content_mode: options.ContentMode = None,
    priority: options.Priority = None,
    webhook: options.Webhook = None,
    out: options.Out = Path("out"),
    edge: options.Edge = "",
    json: options.Json = False,
) -> None:
    """Make images. Ctrl-C leaves the job running and says how to come back to it.

    Example: atelier image "a red fox in the snow" -n 3 --seed 7 --aspect-ratio 16:9 --out pictures
    """
    given = options.given(
        type=type, num_images=num_images, resolution=resolution, steps=steps, guidance_scale=guidance_scale,
        seed=seed, negative_prompt=negative_prompt, scheduler=scheduler, clip_skip=clip_skip,
        compel_weights=weights, compel_enabled=compel,
        reference_image_url=reference, reference_strength=reference_strength, reference_type=reference_type,
    )  # fmt: skip
    use = "exact_copy" if reference_use == "copy" else reference_use
    chosen = options.given(preset=preset, aspect_ratio=aspect_ratio, quality=quality, style=style, reference_use=use)
    common = chosen | options.given(
        priority=priority, webhook=webhook, enhancement=options.enhancement(enhance), content_mode=content_mode
    )
    _make(lambda: requests.image(prompt, given), common, out, edge, json)


def video(
    prompt: options.Prompt,
    type: Annotated[
        str, typer.Option(help="video_fast or video_high; image_fast or image_high for a still.")
    ] = "video_fast",
    width: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    frames: Annotated[int | None, typer.Option(help="1 to 83.")] = None,
    fps: Annotated[int | None, typer.Option(help="Frames per second, 8 to 24.")] = None,
    steps: options.Steps = None,
    guidance_scale: options.Guidance = None,
    flow_shift: Annotated[float | None, typer.Option(help="Shift of the noise schedule, 0.1 to 20.0.")] = None,
    image: Annotated[
        str | None, typer.Option(metavar=options.FILE_OR_KEY_OR_URL, help="One picture for the whole video.")
    ] = None,
    first_frame: Annotated[
        str | None, typer.Option(metavar=options.FILE_OR_KEY_OR_URL, help="Picture that the video begins with.")
    ] = None,
    last_frame: Annotated[
        str | None, typer.Option(metavar=options.FILE_OR_KEY_OR_URL, help="Picture that the video ends with.")
    ] = None,
    reference_strength: options.Strength = None,
    seed: options.Seed = None,
    negative_prompt: options.Negative = None,
    preset: options.Preset = None,
    aspect_ratio: options.AspectRatio = None,
    quality: options.Quality = None,
    style: options.Style = None,
    enhance: options.Enhance = None,
    content_mode: options.ContentMode = None,
    priority: options.Priority = None,
    webhook: options.Webhook = None,
    out: options.Out = Path("out"),
    edge: options.Edge = "",
    json: options.Json = False,
) -> None:
    """Make a video, or a still. Ctrl-C leaves the job running and says how to come back to it.

    Example: atelier video "waves at dusk" --frames 33 --fps 16 --out clips
    """
    given = options.given(
        type=type, width=width, height=height, frames=frames, fps=fps, steps=steps, guidance_scale=guidance_scale,
        flow_shift=flow_shift, seed=seed, negative_prompt=negative_prompt, image=image, first_frame=first_frame,
        last_frame=last_frame, reference_strength=reference_strength,
    )  # fmt: skip
    chosen = options.given(preset=preset, aspect_ratio=aspect_ratio, quality=quality, style=style)
    common = chosen | options.given(
        priority=priority, webhook=webhook, enhancement=options.enhancement(enhance), content_mode=content_mode
    )
    _make(lambda: requests.video(prompt, given), common, out, edge, json)


def submit(
    file: Annotated[Path, typer.Argument(help="A job in the specification's JSON; - reads standard input.")],
    priority: options.Priority = None,
    webhook: options.Webhook = None,
    out: options.Out = Path("out"),
    edge: options.Edge = "",
    json: options.Json = False,
) -> None:
    """Submit a job written in the specification's JSON, exactly as it stands, and follow it.

    With {"sdxl": {...}} around it the file can also name a preset, a deadline, a priority and a webhook.

    Example: echo '{"type": "sdxl_image_fast", "prompt": "a red fox"}' | atelier submit -
    """
    given, shown = options.given(priority=priority, webhook=webhook), screen(json)
    following = Following(shown, out)
    submission = cast(SubmitOptions, given)
    run(following.submit(lambda: requests.from_text(_read(file)), submission, edge), shown, following.let_go)


def upload(
    file: Annotated[Path, typer.Argument(help="A PNG, JPEG or WEBP picture, at most 32 MiB and 40 megapixels.")],
    edge: options.Edge = "",
    json: options.Json = False,
) -> None:
    """Upload a reference picture and print its key, which --reference and --first-frame take.

    Example: atelier upload cat.jpg
    """
    shown = screen(json)
    run(_upload(edge, file, shown), shown)


def retry(
    job: options.JobId, out: options.Out = Path("out"), edge: options.Edge = "", json: options.Json = False
) -> None:
    """Repeat an ended job as a new one, with the same plan and so the same seeds, and follow it.

    Use it for a job that failed, expired or was cancelled by mistake; `atelier jobs --status failed` lists them.

    Example: atelier retry sdxl_image_high_1734567890_abc123 --out pictures
    """
    shown = screen(json)
    following = Following(shown, out)
    run(following.retry(job, edge), shown, following.let_go)


def chat(
    text: Annotated[str, typer.Argument(help="What to say; - reads standard input.")],
    system: Annotated[str | None, typer.Option(help="Instructions to the model.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="100 to 2048.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0.0 to 2.0; 0.0 is always the same answer.")] = None,
    top_p: Annotated[float | None, typer.Option(help="0.0 to 1.0.")] = None,
    model: Annotated[str | None, typer.Option(help="qwen_instruct or qwen_base.")] = None,
    context: Annotated[str | None, typer.Option(help="Name of a context, whose system prompt begins it.")] = None,
    content_mode: options.ContentMode = None,
    edge: options.Edge = "",
    json: options.Json = False,
) -> None:
    """Ask the chat model and print its answer as it is made. Ctrl-C stops it.

    Example: atelier chat "Why is the sky blue?" --temperature 0
    """
    said = sys.stdin.read() if text == "-" else text
    turns = [{"role": "user", "content": said}]
    if system is not None:
        turns.insert(0, {"role": "system", "content": system})
    given = options.given(
        max_tokens=max_tokens, temperature=temperature, top_p=top_p, model=model, context=context,
        content_mode=content_mode,
    )  # fmt: skip
    shown = screen(json)
    run(_answer(edge, turns, cast(ChatOptions, given), shown), shown)


def _make(build: Callable[[], Submittable], given: Mapping[str, object], out: Path, edge: str, as_json: bool) -> None:
    shown = screen(as_json)
    following = Following(shown, out)
    run(following.make(build, cast(SubmitOptions, given), edge), shown, following.let_go)


async def _upload(edge: str, file: Path, shown: Screen) -> None:
    async with AsyncClient(edge) as client:
        key = await client.upload(file)
    shown.say(key, key=key)


async def _answer(edge: str, turns: Messages, given: ChatOptions, shown: Screen) -> None:
    async with AsyncClient(edge) as client:
        chat = client.chat(turns, stream=True, **given)
        async for piece in chat:
            shown.text(piece)
        shown.message((await chat).callback, "")


def _read(file: Path) -> bytes:
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
