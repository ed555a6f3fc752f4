"""What a number of measured durations says about the next one, if their logarithms are normally distributed."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

# Before anything is known of a kind: alike jobs differ by a quarter, as if that had been seen in two of them.
PRIOR_LOG_SPREAD = math.log(1.25)
PRIOR_SAMPLES = 2
# What an estimate may be wrong by that comes from other kinds, or from nothing but the policy.
RATE_LOG_SPREAD, GUESS_LOG_SPREAD = math.log(2), math.log(3)


@dataclass(frozen=True)
class Statistic:
    """Welford's figures of the log of seconds: their number, their mean and the sum of their squared deviations."""

    samples: float = 0.0
    log_mean: float = 0.0
    log_m2: float = 0.0

    def plus(self, other: "Statistic") -> "Statistic":
        """Both together, as if all had been counted into one (Chan's formula)."""
        samples = self.samples + other.samples
        if not samples:
            return self
        shift = other.log_mean - self.log_mean
        mean = self.log_mean + shift * other.samples / samples
        return Statistic(samples, mean, self.log_m2 + other.log_m2 + shift**2 * self.samples * other.samples / samples)

    def weighted(self, weight: float) -> "Statistic":
        """The same, as if it had been seen `weight` times as often."""
        return Statistic(self.samples * weight, self.log_mean, self.log_m2 * weight)

    @property
    def median(self) -> float:
        """The seconds that half of them take."""
        return math.exp(self.log_mean)

    @property
    def mean(self) -> float:
        """The seconds that they take on average."""
        return math.exp(self.log_mean + min(self._log_variance, 1) / 2)

    @property
    def log_spread(self) -> float:
        """How far the next one may be off, as a standard deviation of its log. Needs one sample, wide with few: it is
        widened as Student's t is for a range of nine in ten."""
        return math.sqrt(self._log_variance * (1 + 1 / self.samples)) * (1 + 1.4 / self._freedom)

    @property
    def _freedom(self) -> float:
        return max(self.samples - 1, 0) + PRIOR_SAMPLES

    @property
    def _log_variance(self) -> float:
        return (self.log_m2 + PRIOR_SAMPLES * PRIOR_LOG_SPREAD**2) / self._freedom


def measured(seconds: float) -> Statistic:
    """One duration. None is shorter than a millisecond: the log of nothing is not a number."""
    return Statistic(1, math.log(max(seconds, 0.001)))


def together(statistics: Iterable[Statistic]) -> Statistic:
    """All of them as one."""
    total = Statistic()
    for statistic in statistics:
        total = total.plus(statistic)
    return total


def deviation(median: float, log_spread: float) -> float:
    """The standard deviation in seconds that corresponds to one of the log."""
    variance = log_spread**2
    return median * math.exp(variance / 2) * math.sqrt(math.expm1(variance))
