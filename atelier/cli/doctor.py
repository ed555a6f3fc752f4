"""The command that looks for what is missing or wrong."""

import typer

from atelier import connection
from atelier.cli import options
from atelier.cli.running import FAILED, run
from atelier.cli.screen import Screen, screen
from atelier.doctor import Finding, running_edge, this_machine


def doctor(edge: options.Edge = "", json: options.Json = False) -> None:
    """Look at this machine and the running services; say what is missing or wrong and how to mend it.

    The exit code is 1 if something is missing or wrong that Atelier needs.

    Example: atelier doctor
    """
    shown = screen(json)
    run(_look(edge, shown), shown)


async def _look(edge: str, shown: Screen) -> None:
    bad = False
    for finding in this_machine(connection.data_folder()):
        bad |= _say(finding, shown)
    for finding in await running_edge(edge):
        bad |= _say(finding, shown)
    if bad:
        raise typer.Exit(FAILED)


def _say(finding: Finding, shown: Screen) -> bool:
    mend = f"\n{'':9}to mend it: {finding.mend}" if finding.mend else ""
    text = f"{finding.state:<8} {finding.what}: {finding.seen}{mend}"
    shown.say(text, what=finding.what, state=finding.state, seen=finding.seen, mend=finding.mend)
    return finding.is_bad
