"""Progress messages: not too many, never missing the ends, with an honest estimate."""

import itertools

import pytest

from atelier.pb.job.v1.job_pb2 import PHASE_DECODING, PHASE_DENOISING, PHASE_GENERATING, PHASE_WAITING
from shared.worker import progress
from shared.worker.progress import Meter


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_at_most_ten_a_second_are_sent(clock: Clock) -> None:
    meter, sent = Meter(), 0
    for step in range(1, 1001):
        clock.now += 0.005
        sent += meter.progress(PHASE_DENOISING, step, 2000) is not None
    assert 45 <= sent <= 51


def test_an_unknown_total_is_limited_as_well(clock: Clock) -> None:
    meter = Meter()
    sent = [meter.progress(PHASE_GENERATING, step) for step in range(1, 100)]
    assert len([message for message in sent if message]) == 1


def test_every_phase_change_and_the_last_step_are_sent(clock: Clock) -> None:
    meter = Meter()
    assert meter.progress(PHASE_WAITING)
    assert meter.progress(PHASE_DENOISING, 1, 3)
    assert meter.progress(PHASE_DENOISING, 2, 3) is None
    last = meter.progress(PHASE_DENOISING, 3, 3)
    assert last
    assert (last.step, last.total_steps) == (3, 3)
    assert meter.progress(PHASE_DECODING)


def test_what_is_left_is_estimated_from_the_steps_of_this_phase(clock: Clock) -> None:
    meter = Meter()
    clock.now += 50  # waiting tells nothing about steps
    meter.progress(PHASE_DENOISING, 0, 10)
    clock.now += 4
    message = meter.progress(PHASE_DENOISING, 2, 10)
    assert message
    assert message.remaining_seconds == pytest.approx(16)
    assert message.elapsed_seconds == pytest.approx(54)
    assert meter.elapsed == pytest.approx(54)


@pytest.mark.parametrize(("step", "total"), [(0, 0), (0, 10), (1, 10), (5, 0)])
def test_nothing_is_estimated_before_a_step_was_measured(clock: Clock, step: int, total: int) -> None:
    for message in (Meter().progress(PHASE_WAITING), Meter().progress(PHASE_DENOISING, step, total)):
        assert message
        assert not message.HasField("remaining_seconds")


def test_elapsed_never_runs_backwards(clock: Clock) -> None:
    meter = Meter()
    messages = []
    for step in range(1, 6):
        clock.now += 0.2
        messages.append(meter.progress(PHASE_DENOISING, step, 5))
    elapsed = [message.elapsed_seconds for message in messages if message]
    assert len(elapsed) == 5
    assert all(earlier < later for earlier, later in itertools.pairwise(elapsed))
