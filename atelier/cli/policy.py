"""Commands that help to change policies: policy check, show, diff."""

import os
import subprocess
import sys
from typing import Annotated

import typer

from atelier.cli import options
from atelier.cli.running import require_local
from atelier.launcher.programs import found_here

app = typer.Typer(
    help="Check, show and compare policies: the YAML files of tiers, job types, presets, costs, content rules, contexts"
    " of chat and enhancement.",
    no_args_is_help=True,
)
Which = "A folder of policies, or built-in for those that Atelier brings."
Folder = Annotated[
    str,
    typer.Argument(metavar="[FOLDER]", help=f"{Which} Default: ATELIER_POLICIES, else built-in.", show_default=False),
]


@app.command()
def check(folder: Folder = "", json: options.Json = False) -> None:
    """Say every mistake of every file, with line and column. Exit code 1 if there is one.

    An edge refuses exactly what this refuses: at start it stops, later it keeps the policies it has. So check before
    you roll a change out. A file of the folder replaces the built-in one of its name; the others stay built in.

    Example: atelier policy check ./policies
    """
    _ask("check", folder, json=json)


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Only this one, such as tiers.", show_default=False)
    ] = "",
    folder: Annotated[str, typer.Option(help=f"{Which} Default: ATELIER_POLICIES, else built-in.")] = "",
    json: options.Json = False,
) -> None:
    """Print what is in force with a folder: every value, with defaults, and where its file lies.

    The first line is the version: compare it with that of `atelier catalog`, which is what the edge has in force.

    Example: atelier policy show presets --folder ./policies
    """
    _ask("show", name, *(("--folder", folder) if folder else ()), json=json)


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help=Which)],
    new: Annotated[str, typer.Argument(help=Which)],
    json: options.Json = False,
) -> None:
    """Print what differs between two folders: values by their path, whatever the files look like.

    Example: atelier policy diff built-in ./policies
    """
    _ask("diff", old, new, json=json)


def _ask(*words: str, json: bool) -> None:
    """The edge knows its policies; the command line only asks it."""
    require_local()
    given = [word for word in words if word] + (["--json"] if json else [])
    command = [sys.executable, "-m", "edge_service.policies", *given]
    ended = subprocess.run(command, env={**os.environ, **found_here()}, capture_output=True, text=True, check=False)
    print(ended.stdout, end="")
    print(ended.stderr, end="", file=sys.stderr)
    raise typer.Exit(ended.returncode)
