"""Progress messages: at most ten a second, with the time that is left estimated from the steps so far."""

import time

from atelier.pb.job.v1 import job_pb2

MIN_INTERVAL_SECONDS = 0.1


class Meter:
    """Measures one job from the moment a worker accepted it."""

    def __init__(self) -> None:
        self._accepted = time.monotonic()
        self._phase, self._last_sent = 0, 0.0
        self._phase_started, self._first_step = self._accepted, 0

    @property
    def elapsed(self) -> float:
        """Seconds since the job was accepted."""
        return time.monotonic() - self._accepted

    def progress(self, phase: "job_pb2.Phase", step: int = 0, total: int = 0) -> job_pb2.Progress | None:
        """The message to send now, or None when the last one is under 0.1 s old and nothing but the step changed."""
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._phase_started, self._first_step = phase, now, step
        elif now - self._last_sent < MIN_INTERVAL_SECONDS and (step < total or not total):
            return None
        self._last_sent = now
        return job_pb2.Progress(
            phase=phase,
            step=step,
            total_steps=total,
            elapsed_seconds=self.elapsed,
            remaining_seconds=self._remaining(now, step, total),
        )

    def _remaining(self, now: float, step: int, total: int) -> float | None:
        measured = step - self._first_step
        return (now - self._phase_started) / measured * (total - step) if measured and total else None
