import math
import random
from statistics import fmean, pvariance

import pytest

from edge_service.queue.estimates.statistics import Statistic, measured, together


def test_statistics_merge_exactly():
    dice = random.Random(1)
    logs = [dice.gauss(2, 0.5) for _ in range(40)]
    total = together(measured(math.exp(log)) for log in logs)
    halves = together(map(measured, map(math.exp, logs[:7]))).plus(together(map(measured, map(math.exp, logs[7:]))))
    for found in (total, halves):
        assert found.samples == 40
        assert found.log_mean == pytest.approx(fmean(logs))
        assert found.log_m2 == pytest.approx(pvariance(logs) * 40)


def test_a_range_is_a_factor_of_three_without_samples_and_narrows_with_each():
    widths = [together([measured(10.0)] * samples).log_spread for samples in (1, 2, 5, 10, 50)]
    assert widths == sorted(widths, reverse=True)
    assert 0.3 < widths[0] < math.log(3)
    assert widths[-1] < 0.1


def test_nine_of_ten_jobs_fall_within_the_range_that_was_learned():
    """Also after three samples: the range is that of Student's t, about."""
    dice = random.Random(2)
    for samples in (3, 10, 50):
        inside = 0
        for _ in range(2000):
            seen = together(measured(math.exp(dice.gauss(1, 0.3))) for _ in range(samples))
            inside += abs(dice.gauss(1, 0.3) - seen.log_mean) < 1.645 * seen.log_spread
        assert 0.86 < inside / 2000 < 0.97


def test_nothing_seen_is_no_statistic():
    assert Statistic().plus(Statistic()) == Statistic()
