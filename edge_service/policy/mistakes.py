"""What is wrong with policies, and where it stands: every mistake of every file, never only the first."""

from collections.abc import Iterable
from dataclasses import dataclass

Steps = tuple[str | int, ...]
"""The way to a value in a file: keys of mappings and places in lists."""


@dataclass(frozen=True, order=True)
class Mistake:
    """One thing that is wrong. Lines and columns count from 1, as editors do; 0 is for a file or folder as a whole."""

    file: str
    line: int
    column: int
    path: str
    problem: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(filter(None, (place, self.path, self.problem)))


class PolicyRefused(Exception):
    """Policies that cannot be in force."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


def dotted(steps: Steps) -> str:
    """A path as people read it: `presets.sketch.values.config.steps`, `words[2]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
