"""How long something will take, in words for people."""

from datetime import UTC, datetime

from atelier.results import Estimate, Expected

MINUTE, HOUR = 60.0, 3600.0


def place(position: int, estimate: Estimate | None) -> str:
    """Such as "place 3 in the queue, starts in about 40 s (20 s to 2 min)", as of now."""
    if estimate is None:
        return f"place {position} in the queue; no worker that could run it is connected"
    if estimate.start is None:
        return f"place {position} in the queue"
    return f"place {position} in the queue, starts {_about(estimate.start)}"


def prospect(estimate: Estimate | None) -> str:
    """What is expected next of a job: "starts in about 40 s", "ends in about 2 min", or nothing."""
    if estimate is None:
        return ""
    said, expected = ("starts", estimate.start) if estimate.start else ("ends", estimate.finish)
    seconds = _seconds_to(expected.time)
    return f"{said} any moment" if seconds < 1 else f"{said} in about {duration(seconds)}"


def duration(seconds: float) -> str:
    """A length of time to two digits or so: "40 s", "2 min", "3 h"."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 1.5 * HOUR else f"{seconds / HOUR:.0f} h"


def _about(expected: Expected) -> str:
    latest = duration(_seconds_to(expected.latest))
    if _seconds_to(expected.time) < 1:
        return f"any moment (at most {latest})"
    about, earliest = duration(_seconds_to(expected.time)), duration(_seconds_to(expected.earliest))
    return f"in about {about}" + (f" ({earliest} to {latest})" if earliest != latest else "")


def _seconds_to(time: datetime) -> float:
    return (time - datetime.now(UTC)).total_seconds()
