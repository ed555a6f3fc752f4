"""How far the training is: a bar on a terminal, a line a minute elsewhere."""

import sys
import time
from typing import Final

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES: Final[float] = 60.0


class Shown:
    """Counts one slice of one task. Use as a context manager."""

    def __init__(self, task: str, seconds: float) -> None:
        self._name, self._seconds = task, seconds
        self._started = self._said = time.monotonic()
        self._samples = 0
        self._loss = float("nan")
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, transient=True)
            self._row = self._bar.add_task(task, total=seconds)

    def __enter__(self) -> "Shown":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        if self._samples:
            self._say(self._text(self._last))

    _last = 0

    def step(self, step: int, samples: int, loss: float) -> None:
        """One step more."""
        self._samples += samples
        self._last = step
        self._loss = loss if self._samples == samples else 0.98 * self._loss + 0.02 * loss
        now = time.monotonic()
        if self._bar:
            self._bar.update(self._row, completed=now - self._started, description=self._text(step))
        elif now - self._said > SECONDS_BETWEEN_LINES:
            self._said = now
            self._say(self._text(step))

    def _text(self, step: int) -> str:
        rate = self._samples / max(1e-9, time.monotonic() - self._started)
        return f"{self._name}: step {step}, loss {self._loss:.4f}, {rate:.1f} samples/s"

    def _say(self, text: str) -> None:
        print(time.strftime("%H:%M:%S"), text, flush=True)
