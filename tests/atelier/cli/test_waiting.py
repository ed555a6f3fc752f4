"""How long something will take, in words."""

from datetime import UTC, datetime, timedelta

import pytest

from atelier.cli.waiting import duration, place, prospect
from atelier.results import Estimate, Expected


def expected(*seconds: float) -> Expected:
    """A time so many seconds from now, with its range."""
    now = datetime.now(UTC)
    return Expected(*(now + timedelta(seconds=after + 0.3) for after in seconds))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0 s"), (0.2, "0 s"), (40, "40 s"), (89, "89 s"), (91, "2 min"), (3600, "60 min"), (10_800, "3 h")],
)
def test_a_length_of_time_has_a_fitting_unit(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ((40, 20, 120), "place 3 in the queue, starts in about 40 s (20 s to 2 min)"),
        ((40, 40, 40), "place 3 in the queue, starts in about 40 s"),
        ((-5, -9, 30), "place 3 in the queue, starts any moment (at most 30 s)"),
        ((300, -9, 7200), "place 3 in the queue, starts in about 5 min (0 s to 2 h)"),
    ],
)
def test_a_place_says_when_the_job_starts_and_how_sure_that_is(start: tuple[float, ...], words: str) -> None:
    assert place(3, Estimate(expected(*start), expected(400, 300, 500), 12)) == words


def test_a_place_without_an_estimate_says_why() -> None:
    assert place(1, None) == "place 1 in the queue; no worker that could run it is connected"


def test_what_comes_next_is_the_start_and_then_the_end() -> None:
    end = expected(120, 100, 140)
    assert prospect(Estimate(expected(40, 20, 120), end, 1)) == "starts in about 40 s"
    assert prospect(Estimate(None, end, 1)) == "ends in about 2 min"
    assert prospect(Estimate(None, expected(-1, -2, 5), 1)) == "ends any moment"
    assert prospect(None) == ""
