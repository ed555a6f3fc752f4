"""Train the small models that draw, on scenes made here.

\b
    python -m training all                      everything in turn, until it is stopped
    python -m training sdxl --minutes 10        pictures only, for ten minutes
    nice -n 19 python -m training all &         in the background, for days
    python -m training status                   how far everything is
    python -m training evaluate sdxl            how good the pictures are, as a table
    python -m training export sdxl              write the weights that the package ships

Stop it in any way and start it again with the same command: it goes on where it was. Checkpoints, and a picture of what
each model can do by now, lie in `training/` in the cache folder ($ATELIER_CACHE, or ~/.cache/atelier). A GPU is used
where there is one, with bfloat16 and larger batches; give --compile there.
"""

import enum
import os
import time
from typing import Annotated

import typer

# Before torch is imported: its threads must not wait in a loop while other work has the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


class Family(enum.StrEnum):
    sdxl = "sdxl"
    wan = "wan"


app = typer.Typer(help=__doc__, rich_markup_mode=None, no_args_is_help=True, add_completion=False)
Minutes = Annotated[float | None, typer.Option(help="Stop after so many minutes; without it, only when stopped.")]
Slice = Annotated[float, typer.Option(help="How many minutes one model trains before another has its turn.")]
Threads = Annotated[int | None, typer.Option(help="Threads on a CPU; as many as there are cores when left out.")]
Only = Annotated[list[str] | None, typer.Option("--only", help="This stage alone; may be given several times.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the networks first: a minute or two, then faster.")]


@app.command()
def sdxl(
    minutes: Minutes = None,
    slice_minutes: Slice = 10,
    threads: Threads = None,
    compiled: Compile = False,
    only: Only = None,
) -> None:
    """Train the picture model: text encoders, then UNet and decoder."""
    _train(("sdxl",), minutes, slice_minutes, threads, compiled, only)


@app.command()
def wan(
    minutes: Minutes = None,
    slice_minutes: Slice = 10,
    threads: Threads = None,
    compiled: Compile = False,
    only: Only = None,
) -> None:
    """Train the video model: VAE, then VACE transformer with its text encoder."""
    _train(("wan",), minutes, slice_minutes, threads, compiled, only)


@app.command(name="all")
def everything(
    minutes: Minutes = None, slice_minutes: Slice = 10, threads: Threads = None, compiled: Compile = False
) -> None:
    """Train all models in turn."""
    _train(("sdxl", "wan"), minutes, slice_minutes, threads, compiled)


@app.command()
def status() -> None:
    """Print how far every model is."""
    from training import checkpoints
    from training.stages import STAGES
    from training.task import training_folder

    for stage in STAGES:
        file = training_folder() / f"{stage.name}.pt"
        found = checkpoints.progress(file)
        target = f" of {stage.samples:,}" if stage.samples else ""
        print(
            f"{stage.name:13} {found['step']:>8,.0f} steps {found['samples']:>11,.0f} samples{target}"
            f" {found['seconds'] / 60:>7.0f} minutes"
        )


@app.command()
def export(family: Family) -> None:
    """Write the averaged weights as float16 into atelier/small_models/weights/, where the package has them from."""
    from training.export import ExportError
    from training.export import export as write

    try:
        print(write(family.value))
    except ExportError as error:
        raise typer.Exit(_failed(str(error))) from error


@app.command()
def evaluate(
    family: Annotated[Family, typer.Argument()] = Family.sdxl,
    count: Annotated[int, typer.Option(help="How many of the 200 captions.")] = 200,
    steps: Annotated[int, typer.Option(help="Steps a picture.")] = 25,
    guidance: Annotated[float, typer.Option(help="Guidance.")] = 7.5,
    plain: Annotated[
        bool, typer.Option("--plain", help="Without the decoder: faster, and only the UNet counts.")
    ] = False,
    threads: Threads = None,
) -> None:
    """Draw captions that were never trained on, and print how often the pictures show what they say, worst first."""
    import torch

    from training.evaluate import evaluate as table

    if threads:
        torch.set_num_threads(threads)
    if family is not Family.sdxl:
        raise typer.Exit(_failed("only sdxl can be evaluated yet"))
    print(table(count, steps, guidance, plain))


def _train(
    families: tuple[str, ...],
    minutes: float | None,
    slice_minutes: float,
    threads: int | None,
    compiled: bool,
    only: list[str] | None = None,
) -> None:
    """Give stage after stage its slice of time."""
    import torch

    from training.fluent_emoji import SpritesMissing, sprites
    from training.loop import Stop, Training
    from training.stages import STAGES, next_stage
    from training.task import best_device, training_folder

    if threads:
        torch.set_num_threads(threads)
    if wrong := set(only or ()) - {stage.name for stage in STAGES}:
        names = ", ".join(stage.name for stage in STAGES)
        raise typer.Exit(_failed(f"no stage is called {min(wrong)}: choose from {names}"))
    folder, device, stop = training_folder(), best_device(compiled), Stop()
    try:
        pictures = sprites(folder)
    except SpritesMissing as error:
        raise typer.Exit(_failed(str(error))) from error
    ends = time.monotonic() + 60 * minutes if minutes else float("inf")
    while not stop.asked and time.monotonic() < ends:
        stage = next_stage(families, folder, only)
        if stage is None:
            break
        training = Training(stage.build(pictures, device, folder), folder, device)
        left = None if stage.samples is None else stage.samples - training.samples
        training.run(min(60 * slice_minutes, ends - time.monotonic()), stop, max_samples=left)
        if not stop.asked:
            training.draw_grid()


def _failed(message: str) -> int:
    print(f"error: {message}", flush=True)
    return 1


if __name__ == "__main__":
    app()
