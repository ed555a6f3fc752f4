"""Ejection: what a worker is ejected for, for how long, and how it comes back."""

import pytest

from atelier.contracts import errors
from edge_service.fleet.circuit_breaker import FORGET_SECONDS, MAX_SECONDS, CircuitBreaker, State

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
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def test_a_worker_that_died_or_froze_is_ejected_and_then_on_trial(breaker: CircuitBreaker, clock: Clock) -> None:
    assert breaker.failed(LOST)
    assert breaker.state is State.EJECTED
    clock.now += 1
    assert breaker.state is State.HALF_OPEN
    breaker.succeeded()
    assert (breaker.state, breaker.failures) == (State.TRUSTED, 0)


@pytest.mark.parametrize("error", [FAILED, errors.StorageUnavailable("away")])
def test_failing_jobs_eject_only_three_in_a_row(breaker: CircuitBreaker, error: errors.AtelierError) -> None:
    assert [breaker.failed(error, owner) for owner in ("ann", "bob")] == [False, False]
    breaker.succeeded()
    assert [breaker.failed(error, owner) for owner in ("ann", "bob", "ann")] == [False, False, True]
    assert breaker.state is State.EJECTED


def test_one_owner_alone_needs_many_more_failures_to_eject_a_worker(breaker: CircuitBreaker) -> None:
    assert [breaker.failed(FAILED, "ann") for _ in range(12)] == [False] * 11 + [True]


def test_on_trial_no_owner_ejects_a_worker_twice(breaker: CircuitBreaker, clock: Clock) -> None:
    for owner in ("ann", "bob", "ann"):
        breaker.failed(FAILED, owner)
    clock.now += 1
    assert [breaker.failed(FAILED, owner) for owner in ("ann", "bob")] == [False, False]
    assert breaker.failed(FAILED, "eve")


def test_the_backoff_doubles_up_to_a_minute(breaker: CircuitBreaker, clock: Clock) -> None:
    seconds = []
    for _ in range(9):
        breaker.failed(LOST)
        seconds.append(breaker.seconds_left)
        clock.now += breaker.seconds_left
    for found, whole in zip(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert 0.8 * whole <= found <= whole


def test_the_backoff_is_spread(clock: Clock) -> None:
    workers = [CircuitBreaker(clock) for _ in range(10)]
    for worker in workers:
        worker.failed(LOST)
    assert len({worker.seconds_left for worker in workers}) > 5


def test_all_jobs_of_a_worker_that_died_are_one_failure(breaker: CircuitBreaker) -> None:
    assert [breaker.failed(LOST) for _ in range(4)] == [True, False, False, False]
    assert breaker.failures == 1
    assert breaker.seconds_left <= 1


def test_on_trial_one_failure_of_any_kind_is_enough(breaker: CircuitBreaker, clock: Clock) -> None:
    breaker.failed(LOST)
    clock.now += 1
    assert breaker.failed(FAILED)
    assert breaker.state is State.EJECTED


def test_a_completed_job_makes_the_next_backoff_short_again(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(5):
        breaker.failed(LOST)
        clock.now += MAX_SECONDS
    breaker.succeeded()
    breaker.failed(LOST)
    assert breaker.seconds_left <= 1


def test_failures_of_long_ago_do_not_lengthen_the_backoff(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(5):
        breaker.failed(LOST)
        clock.now += FORGET_SECONDS + MAX_SECONDS + 1
    breaker.failed(LOST)
    assert breaker.seconds_left <= 1


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
def test_a_worker_is_not_ejected_for_what_is_not_its_fault(breaker: CircuitBreaker, error: errors.AtelierError) -> None:
    assert [breaker.failed(error) for _ in range(10)] == [False] * 10
    assert (breaker.state, breaker.failures) == (State.TRUSTED, 0)
