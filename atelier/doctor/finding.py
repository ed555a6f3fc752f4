"""One thing that was looked at."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How it is."""

    OK = "ok"
    NOTE = "note"
    """Not there, and nothing is wrong with that."""
    MISSING = "missing"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, what was seen, and how to mend it if it needs mending."""

    what: str
    state: State
    seen: str
    mend: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether Atelier cannot work until it is mended."""
        return self.state in (State.MISSING, State.WRONG)
