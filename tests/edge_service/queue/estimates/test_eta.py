import math
import random

import pytest

from edge_service.queue.estimates.eta import NOW, Ahead, Span
from edge_service.queue.estimates.statistics import deviation


def test_a_span_of_one_job_is_the_range_that_its_statistic_means():
    seconds, log_spread = 40.0, 0.7
    earliest, latest = Span(seconds, deviation(seconds, log_spread)).range()
    assert (earliest, latest) == pytest.approx(
        (seconds * math.exp(-1.645 * log_spread), seconds * math.exp(1.645 * log_spread))
    )


def test_a_job_for_which_a_slot_is_free_starts_now():
    assert Ahead(1, 10, [15, 5], 1, 1).wait(4) == NOW
    assert Ahead(2, 20, [15, 5], 1, 1).wait(4) != NOW


def test_no_job_starts_before_the_first_running_one_ends():
    assert Ahead(0, 0, [10, 12], 0, 0).wait(2).seconds == 10


def test_short_jobs_pass_a_long_one_that_runs_on_another_slot():
    assert Ahead(9, 9, [1000, 1], 0, 0).wait(2).seconds == pytest.approx(10, rel=0.01)


def test_jobs_on_workers_that_went_away_must_end_before_the_next_one_starts():
    assert Ahead(0, 0, [10, 20, 30], 0, 0).wait(1).seconds == 30


@pytest.mark.parametrize("slots", [1, 2, 4, 16])
def test_nine_of_ten_jobs_start_within_their_ranges(slots: int):
    """Against a simulation of jobs that vary by a quarter: what the arithmetic takes for a fluid are whole jobs."""
    dice, inside, total = random.Random(slots), 0, 0
    mean, spread = 10 * math.exp(0.25**2 / 2), deviation(10, 0.25)
    for _ in range(300):
        left = [dice.uniform(0, 10) for _ in range(slots)]
        ahead = dice.randrange(3, 60)
        free = sorted(left)
        for _ in range(ahead):
            free[0] += dice.lognormvariate(math.log(10), 0.25)
            free.sort()
        span = Ahead(ahead, mean * ahead, left, ahead * spread**2, 0).wait(slots)
        earliest, latest = span.range()
        inside, total = inside + (earliest <= free[0] <= latest), total + 1
    assert inside / total > 0.85
