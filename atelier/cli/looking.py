"""Commands that look at what there is: jobs, watch, why, cancel, catalog."""

from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from atelier.cli import options
from atelier.cli.catalogue import drawn
from atelier.cli.explaining import explained
from atelier.cli.following import Following
from atelier.cli.running import run
from atelier.cli.screen import Screen, screen
from atelier.cli.waiting import prospect
from atelier.client import AsyncClient
from atelier.results import Job


def jobs(
    limit: Annotated[int, typer.Option(min=1, help="Most jobs to show.")] = 20,
    status: Annotated[
        list[str] | None, typer.Option(help="Only jobs in this state; may be given more than once.")
    ] = None,
    edge: options.Edge = "",
    json: options.Json = False,
) -> None:
    """List your jobs, newest first, those that wait with their place in the queue and when they should start.

    Example: atelier jobs --status processing --status queued
    """
    shown = screen(json)
    run(_jobs(edge, limit, status or [], shown), shown)


def watch(
    job: options.JobId,
    after: Annotated[int, typer.Option(min=0, help="Show the events after this sequence number.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder to save what was made in. Default: only print URLs.")] = None,
    edge: options.Edge = "",
    json: options.Json = False,
) -> None:
    """Follow a job to its end. Ctrl-C leaves it running.

    Example: atelier watch sdxl_image_high_1734567890_abc123 --out pictures
    """
    shown = screen(json)
    following = Following(shown, out)
    run(following.watch(job, after, edge), shown, following.let_go)


def why(job: options.JobId, edge: options.Edge = "", json: options.Json = False) -> None:
    """Explain a job: each default, preset, rule, conversion and routing choice that made it what it is; how it went.

    Example: atelier why sdxl_image_high_1734567890_abc123
    """
    shown = screen(json)
    run(_why(edge, job, shown), shown)


def cancel(job: options.JobId, edge: options.Edge = "", json: options.Json = False) -> None:
    """Cancel a job; it stops within one step. A job that has ended stays as it is.

    Example: atelier cancel sdxl_image_high_1734567890_abc123
    """
    shown = screen(json)
    run(_cancel(edge, job, shown), shown)


def catalog(edge: options.Edge = "", json: options.Json = False) -> None:
    """List what can be asked for: job types with their bounds and defaults, presets, aspect ratios, styles, models.

    Example: atelier catalog --json
    """
    shown = screen(json)
    run(_catalog(edge, shown), shown)


async def _jobs(edge: str, limit: int, statuses: list[str], shown: Screen) -> None:
    async with AsyncClient(edge) as client:
        found = await client.jobs(limit, statuses)
    if found:
        shown.say(_row("created", "status", "place", "expected", "job"))
    for job in found:
        place = "" if job.queue_position is None else str(job.queue_position)
        shown.message(job.message, _row(_clock(job), job.status, place, prospect(job.estimate), job.id))
    if not found:
        shown.say("no jobs")


async def _why(edge: str, job_id: str, shown: Screen) -> None:
    async with AsyncClient(edge) as client:
        job = await client.job(job_id)
    shown.message(job.message, explained(job.message))


async def _cancel(edge: str, job_id: str, shown: Screen) -> None:
    async with AsyncClient(edge) as client:
        job = await client.cancel(job_id)
    shown.message(job.message, f"{job.id} is {job.status}")


async def _catalog(edge: str, shown: Screen) -> None:
    async with AsyncClient(edge) as client:
        found = await client.catalog()
    shown.message(found, drawn(found))


def _row(created: str, status: str, place: str, expected: str, job_id: str) -> str:
    return f"{created:<19}  {status:<10}  {place:>5}  {expected:<22}  {job_id}"


def _clock(job: Job) -> str:
    return job.message.created.ToDatetime(UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
