"""What the scenarios share: the ground they stand on, and how one ends."""

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.checks import Evidence, Violation, check
from benchmarks.chaos.history import History
from benchmarks.chaos.postgres import Postgres
from benchmarks.chaos.stack import Shape, Stack, running
from benchmarks.chaos.store import Final, open_jobs, read

# After the last fault everything that was accepted must end within this time.
SETTLE_SECONDS = 30.0


@dataclass
class Bench:
    """What a run is made from. `short` runs take seconds where long ones take minutes."""

    seed: int
    short: bool
    minutes: float
    folder: Path
    postgres: Postgres
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def random(self, name: str) -> random.Random:
        """The same draws for the same seed and scenario, whichever others run."""
        return random.Random(f"{self.seed} {name}")

    def pick(self, short: int, long: int) -> int:
        return short if self.short else long

    @contextlib.asynccontextmanager
    async def stack(self, shape: Shape) -> AsyncIterator[Stack]:
        """A stack of the scenario's own, with an empty history."""
        async with running(shape, self.folder / f"stack-{next(self.numbers)}", self.postgres, History()) as stack:
            yield stack


@dataclass
class Outcome:
    """What came of a scenario. `invalid` says why it proves nothing: its load or its faults were not reached."""

    name: str
    figures: dict[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    invalid: str = ""
    seconds: float = 0.0

    def broken(self, rule: str, what: str, job_id: str = "") -> None:
        self.violations.append(Violation(rule, job_id, what))

    def must(self, holds: bool, rule: str, what: str) -> None:
        if not holds:
            self.broken(rule, what)

    def must_be_valid(self, holds: bool, why_not: str) -> None:
        if not holds:
            self.invalid = self.invalid or why_not


async def settle(stack: Stack, outcome: Outcome, seconds: float = SETTLE_SECONDS) -> Final:
    """Waits for the end of all jobs, then checks every rule on what is stored, and returns that."""
    started, left = time.monotonic(), 1
    while left and time.monotonic() - started < seconds:
        with contextlib.suppress(OSError):
            left = await open_jobs(stack.url)
        await asyncio.sleep(0.1)
    outcome.figures["last job ended after"] = f"{time.monotonic() - started:.1f} s"
    evidence = Evidence(stack.history, await read(stack.url, stack.library), stack.notes())
    outcome.figures["jobs"] = str(len(evidence.final.jobs))
    outcome.figures["calls"] = str(len(stack.history.entries))
    outcome.violations += check(evidence)
    for message, count in _errors(stack).items():
        outcome.figures[f"logged {count} times, {len(outcome.figures)}"] = message
    return evidence.final


def _errors(stack: Stack) -> Counter[str]:
    """What went wrong by the processes' own account: error lines, and what was no log line."""
    found: Counter[str] = Counter()
    for log in sorted(stack.folder.glob("*.log")):
        for text in log.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                # grpc's own lines, and the frames of a traceback whose last line counts.
                found[f"{log.stem}: {text[:150]}"] += not text.startswith((" ", "I", "W", "E0", "E1", "Traceback"))
                continue
            if line["level"] == "error":
                trace = line.get("traceback", "").strip().splitlines()
                where = [frame.strip() for frame in trace if frame.startswith("  File")][-1:]
                stood = " | ".join(line.get("tasks", []))  # of a process that could not end
                found[f"{log.stem}: {line['message']}: {' '.join(where + trace[-1:])[-200:]}{stood}"] += 1
    return +found


def percentile(values: list[float], share: float) -> float:
    """The value below which this share lies; nan for none."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else float("nan")
