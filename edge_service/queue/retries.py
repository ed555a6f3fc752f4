"""Retries: how many attempts a job has (max_attempts), the backoff between them, and writes repeated while the database
is away."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from atelier.contracts import errors

# How many attempts of a job may end for a reason before the job fails for it. A dying edge says less about the job than
# a dying worker.
MAX_ATTEMPTS: dict[type[errors.AtelierError], int] = {
    errors.WorkerLost: 3, errors.StorageUnavailable: 5, errors.EdgeLost: 10,
}  # fmt: skip
# The attempt ended for no fault of the job and does not count: the worker never began, or gave the job back, or no
# database took the result.
UNCOUNTED = (errors.NoFreeSlot, errors.Draining, errors.DatabaseUnavailable)
RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 30.0
JITTER = 0.25
DATABASE_TIMEOUT_SECONDS = 60.0
T = TypeVar("T")


class Retry(NamedTuple):
    """A further attempt: when it may begin, and whether the one that failed counts towards `MAX_ATTEMPTS`."""

    delay_seconds: float
    counts: bool


def retry_after(error: errors.AtelierError, failures: int) -> Retry | None:
    """The next attempt of a job of which one failed with `error` now, and `failures` did for the same reason before.

    None if it has none left, or if `error` would end each further attempt too."""
    if isinstance(error, UNCOUNTED):
        return Retry(RETRY_SECONDS, counts=False)
    if failures + 1 >= MAX_ATTEMPTS.get(type(error), 1):
        return None
    # A dead edge says nothing of the job: it has waited for its lease to run out, which is enough.
    return Retry(0.0 if isinstance(error, errors.EdgeLost) else backoff_seconds(failures), counts=True)


def backoff_seconds(failures: int) -> float:
    """Exponential backoff: 1, 2, 4 ... 30 seconds, with jitter, so that jobs that failed together spread out."""
    return min(RETRY_SECONDS * 2.0**failures, MAX_RETRY_SECONDS) * random.uniform(1 - JITTER, 1 + JITTER)


async def retry_until_database_is_back(write: Callable[[], Awaitable[T]]) -> T:
    """Repeats a write while the database is away: a restart of it must not cost a finished result.

    Raises DatabaseUnavailable once it has been away for too long."""
    gives_up = time.monotonic() + DATABASE_TIMEOUT_SECONDS
    while True:
        try:
            return await write()
        except errors.DatabaseUnavailable:
            if time.monotonic() > gives_up:
                raise
            await asyncio.sleep(RETRY_SECONDS)
