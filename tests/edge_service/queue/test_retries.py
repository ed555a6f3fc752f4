"""How many attempts a job has, how long the backoff between them is, and that a write outlives a lost database."""

import pytest

from atelier.contracts import errors
from edge_service.queue import retries
from edge_service.queue.retries import Retry, backoff_seconds, retry_after, retry_until_database_is_back


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (errors.WorkerLost("gone"), 3),
        (errors.StorageUnavailable("full"), 5),
        (errors.EdgeLost("gone"), 10),
        (errors.EngineFailed("broken"), 1),
        (errors.Internal("broken"), 1),
    ],
)
def test_a_job_has_max_attempts_for_the_reason_that_ended_the_last_one(error: errors.AtelierError, attempts: int):
    assert [retry_after(error, failures) is None for failures in range(attempts)] == [False] * (attempts - 1) + [True]


@pytest.mark.parametrize("kind", [errors.NoFreeSlot, errors.Draining, errors.DatabaseUnavailable])
def test_an_attempt_that_ended_for_no_fault_of_the_job_does_not_count(kind: type[errors.AtelierError]):
    assert retry_after(kind("busy"), 1000) == Retry(1.0, counts=False)


def test_a_job_of_a_lost_edge_goes_back_at_once():
    assert retry_after(errors.EdgeLost("gone"), 3) == Retry(0.0, counts=True)


@pytest.mark.parametrize(("failures", "seconds"), [(0, 1), (1, 2), (2, 4), (4, 16), (5, 30), (50, 30)])
def test_the_backoff_doubles_up_to_half_a_minute_and_is_spread(failures: int, seconds: float):
    drawn = [backoff_seconds(failures) for _ in range(200)]
    assert all(0.75 * seconds <= one <= 1.25 * seconds for one in drawn)
    assert max(drawn) - min(drawn) > 0.1 * seconds


async def test_a_write_is_repeated_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0.01)
    tries = 0

    async def write() -> str:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise errors.DatabaseUnavailable("away")
        return "written"

    assert await retry_until_database_is_back(write) == "written"
    assert tries == 4
