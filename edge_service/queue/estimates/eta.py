"""How long a job waits for the jobs before it, and when it ends: pure arithmetic, with ranges of nine in ten."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from atelier.pb.edge.v1 import edge_pb2

# Nine of ten values of a normal distribution lie within so many standard deviations.
NINE_IN_TEN = 1.645
# A date must remain one, whatever an estimate says.
MAX_SECONDS = 10 * 365 * 86_400.0
MIN_SECONDS = 0.001
# A start is found to this share of the longest wait that is possible.
STEPS = 2**14


@dataclass(frozen=True)
class Span:
    """A time in seconds from now and its standard deviation."""

    seconds: float
    spread: float

    def range(self) -> tuple[float, float]:
        """Where it lies nine times in ten. Never below 0: durations are skewed, like the logarithm's normal."""
        if self.seconds <= 0:
            return 0.0, NINE_IN_TEN * self.spread
        ratio = self.spread / self.seconds
        log_spread = math.sqrt(math.log((1 + math.sqrt(1 + 4 * ratio**2)) / 2))
        factor = math.exp(NINE_IN_TEN * log_spread)
        return self.seconds / factor, self.seconds * factor


NOW = Span(0.0, 0.0)


@dataclass(frozen=True)
class Ahead:
    """What a queued job waits for: so many jobs and seconds queued before it, and what the running ones still need.

    `variance` is what all of them vary by, in square seconds, and `doubt` the errors in seconds that estimates of one
    kind share, so that they add up."""

    queued: int
    queued_seconds: float
    running: Sequence[float]
    variance: float
    doubt: float

    def wait(self, slots: int) -> Span:
        """When a slot will be free for it, if the queued ones take the same time each.

        Where they do not, the phases of the slots mix: the start may be off by what one job of each other slot is."""
        if len(self.running) + self.queued < slots:
            return NOW
        free = [0.0] * (slots - len(self.running)) + sorted(self.running)[-slots:]
        # Sums of floating point numbers, less one of them: nothing may be left of it, or less.
        each = max(self.queued_seconds / self.queued if self.queued else sum(free) / slots, MIN_SECONDS)
        variance = max(self.variance, 0.0) + max(self.doubt, 0.0) ** 2 + (slots - 1) * each**2 / 12
        return Span(_turn(free, self.queued, each), math.sqrt(variance) / slots)


def _turn(free: Sequence[float], queued: int, each: float) -> float:
    """When slots that are free at these times begin with the job after `queued` others of `each` seconds."""
    if not queued:
        return free[0]
    latest = free[0] + queued * each  # the first slot takes them all

    def begun(step: int) -> int:
        moment = latest * step / STEPS
        return sum(1 + int((moment - start) / each) for start in free if start <= moment)

    return latest * bisect_left(range(STEPS), queued + 1, key=begun) / STEPS


def estimated(now: datetime, start: Span | None, seconds: float, spread: float, samples: int) -> edge_pb2.Estimate:
    """The estimate of a job that takes `seconds`, or has so many left if it has no `start` before it."""
    begin = start or NOW
    finish = Span(begin.seconds + seconds, math.hypot(begin.spread, spread))
    estimate = edge_pb2.Estimate(samples=samples, finish=_moment(now, finish.seconds))
    earliest, latest = finish.range()
    estimate.finish_earliest.CopyFrom(_moment(now, earliest))
    estimate.finish_latest.CopyFrom(_moment(now, latest))
    if start is not None:
        earliest, latest = start.range()
        estimate.start.CopyFrom(_moment(now, start.seconds))
        estimate.start_earliest.CopyFrom(_moment(now, earliest))
        estimate.start_latest.CopyFrom(_moment(now, latest))
    return estimate


def _moment(now: datetime, seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(now + timedelta(seconds=min(seconds, MAX_SECONDS)))
    return stamp
