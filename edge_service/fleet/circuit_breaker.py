"""The circuit breaker of a worker: one that fails gets no jobs for a while, then one job on trial.

trusted --failed--> ejected --backoff over--> half-open --completed a job--> trusted
                       ^--------failed-------------'
"""

import random
import time
from collections.abc import Callable
from enum import StrEnum

from atelier.contracts.errors import AtelierError, EngineFailed, StorageUnavailable, WorkerLost

# Faults of the worker. All else is the job's own, or says that the worker is busy or leaves: nothing to eject it for.
FAULTS = (WorkerLost, EngineFailed, StorageUnavailable)
# A failing engine or store may be the fault of one job, or of one owner's jobs; so many in a row of several
# owners are not, nor are so many of one.
FAILURES, FAILURES_OF_ONE_OWNER = 3, 12
FIRST_SECONDS, MAX_SECONDS = 1.0, 60.0
JITTER = 0.2
# While no other worker could do its work, a worker is not ejected for longer than this.
ALONE_SECONDS = 5.0
# A worker that worked for so long after its last backoff starts with the shortest again.
FORGET_SECONDS = 600.0


class State(StrEnum):
    """The states of the circuit: trusted is closed, ejected is open."""

    TRUSTED = "trusted"
    EJECTED = "ejected"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """One worker's record. `clock` counts seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures = 0
        """Faults in a row since it last completed a job."""
        self._clock = clock
        self._owners: set[str] = set()
        self._proven, self._ejections = True, 0
        self._since = self._until = -FORGET_SECONDS

    @property
    def state(self) -> State:
        if self.seconds_left:
            return State.EJECTED
        return State.TRUSTED if self._proven else State.HALF_OPEN

    @property
    def seconds_left(self) -> float:
        """Seconds until it is tried again; 0 unless it is ejected."""
        return max(0.0, self._until - self._clock())

    def failed(self, error: AtelierError, owner: str = "") -> bool:
        """Counts a fault under a job of this owner; True if the worker is ejected for it.

        All jobs of a worker that died fail at once: while it is ejected nothing more is counted."""
        if not isinstance(error, FAULTS) or self.state is State.EJECTED:
            return False
        self.failures += 1
        if isinstance(error, WorkerLost) or self._has_enough_of(owner):
            self._eject()
            return True
        return False

    def _has_enough_of(self, owner: str) -> bool:
        known = owner in self._owners
        self._owners.add(owner)
        if not self._proven:  # on trial each further owner counts, and counts once
            return not known
        return self.failures >= (FAILURES if len(self._owners) > 1 else FAILURES_OF_ONE_OWNER)

    def succeeded(self) -> None:
        """It completed a job: failures and ejections count from zero again."""
        self.failures = self._ejections = 0
        self._owners.clear()
        self._proven, self._until = True, self._clock()

    def probe_sooner(self) -> None:
        """Shortens the ejection: no other worker could do its work."""
        self._until = min(self._until, self._since + ALONE_SECONDS)

    def _eject(self) -> None:
        now = self._clock()
        if now - self._until > FORGET_SECONDS:
            self._ejections = 0
        seconds = min(FIRST_SECONDS * 2**self._ejections, MAX_SECONDS)
        # Spread, so that the replicas of the edge do not all come back to it at the same moment.
        self._since, self._until = now, now + seconds * random.uniform(1 - JITTER, 1)
        self._proven, self._ejections = False, self._ejections + 1
