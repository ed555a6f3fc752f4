"""Ejection: what a worker is ejected for, for how long, and how it comes back."""

import pytest

from edge_service.fleet.circuit_breaker import FORGET_SECONDS, MAX_SECONDS, CircuitBreaker, State
from shared import errors

LOST = errors.WorkerLost("gone")
FAILED = errors.EngineFailed("the model failed")


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trust(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def test_a_worker_that_died_or_froze_is_ejected_at_once_and_then_on_trial(trust: CircuitBreaker, clock: Clock) -> None:
    assert trust.failed(LOST)
    assert trust.state is State.EJECTED
    clock.now += 1
    assert trust.state is State.HALF_OPEN
    trust.succeeded()
    assert (trust.state, trust.failures) == (State.TRUSTED, 0)


@pytest.mark.parametrize("error", [FAILED, errors.StorageUnavailable("away")])
def test_failing_jobs_eject_only_three_in_a_row(trust: CircuitBreaker, error: errors.AtelierError) -> None:
    assert [trust.failed(error, owner) for owner in ("ann", "bob")] == [False, False]
    trust.succeeded()
    assert [trust.failed(error, owner) for owner in ("ann", "bob", "ann")] == [False, False, True]
    assert trust.state is State.EJECTED


def test_one_owner_alone_needs_many_more_failures_to_eject_a_worker(trust: CircuitBreaker) -> None:
    assert [trust.failed(FAILED, "ann") for _ in range(12)] == [False] * 11 + [True]


def test_on_trial_no_owner_ejects_a_worker_twice(trust: CircuitBreaker, clock: Clock) -> None:
    for owner in ("ann", "bob", "ann"):
        trust.failed(FAILED, owner)
    clock.now += 1
    assert [trust.failed(FAILED, owner) for owner in ("ann", "bob")] == [False, False]
    assert trust.failed(FAILED, "eve")


def test_the_back_off_doubles_up_to_a_minute(trust: CircuitBreaker, clock: Clock) -> None:
    seconds = []
    for _ in range(9):
        trust.failed(LOST)
        seconds.append(trust.seconds_left)
        clock.now += trust.seconds_left
    for found, whole in zip(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert 0.8 * whole <= found <= whole


def test_the_back_off_is_spread(clock: Clock) -> None:
    workers = [CircuitBreaker(clock) for _ in range(10)]
    for worker in workers:
        worker.failed(LOST)
    assert len({worker.seconds_left for worker in workers}) > 5


def test_all_jobs_of_a_worker_that_died_are_one_failure(trust: CircuitBreaker) -> None:
    assert [trust.failed(LOST) for _ in range(4)] == [True, False, False, False]
    assert trust.failures == 1
    assert trust.seconds_left <= 1


def test_on_trial_one_failure_of_any_kind_is_enough(trust: CircuitBreaker, clock: Clock) -> None:
    trust.failed(LOST)
    clock.now += 1
    assert trust.failed(FAILED)
    assert trust.state is State.EJECTED


def test_a_completed_job_makes_the_next_back_off_short_again(trust: CircuitBreaker, clock: Clock) -> None:
    for _ in range(5):
        trust.failed(LOST)
        clock.now += MAX_SECONDS
    trust.succeeded()
    trust.failed(LOST)
    assert trust.seconds_left <= 1


def test_failures_of_long_ago_do_not_lengthen_the_back_off(trust: CircuitBreaker, clock: Clock) -> None:
    for _ in range(5):
        trust.failed(LOST)
        clock.now += FORGET_SECONDS + MAX_SECONDS + 1
    trust.failed(LOST)
    assert trust.seconds_left <= 1


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidRequest(errors.Violation("job", "wrong")),
        errors.OutOfMemory("too large"),
        errors.Cancelled("stopped"),
        errors.DeadlineExceeded("late"),
        errors.CapabilityMissing("cannot"),
        errors.NoFreeSlot("taken"),
        errors.Draining("leaves"),
        errors.DatabaseUnavailable("away"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_worker_is_never_ejected_for_what_is_not_its_fault(trust: CircuitBreaker, error: errors.AtelierError) -> None:
    assert [trust.failed(error) for _ in range(10)] == [False] * 10
    assert (trust.state, trust.failures) == (State.TRUSTED, 0)
