"""What the stand-in engines do: a prompt says how long and to which end, and the result follows from the request.

The harness computes the same result, so that "completed" can be checked to mean what was asked for.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

SIDE = 16


@dataclass(frozen=True)
class Work:
    """One job for a stand-in engine. `tag` names it in the diary; `end` is ok, fail (the engine's failure) or kill (of
    the worker's process)."""

    tag: str
    seconds: float = 0.0
    steps: int = 4
    end: str = "ok"

    def prompt(self) -> str:
        return json.dumps([self.tag, self.seconds, self.steps, self.end])

    @staticmethod
    def of(prompt: str) -> "Work":
        """The work that a prompt asks for."""
        return Work(*json.loads(prompt))

    def again(self, **changes: Any) -> "Work":
        return replace(self, **changes)


def words(prompt: str, max_tokens: int) -> list[str]:
    """The answer of the chat engine, a word a step."""
    return [digest(prompt, max_tokens, step).hex()[:8] for step in range(Work.of(prompt).steps)]


def picture(prompt: str, seed: int, steps: int) -> bytes:
    """The PNG of the image engine."""
    pixels = digest(prompt, seed, steps) * (SIDE * SIDE * 3 // 32)
    buffer = io.BytesIO()
    Image.frombytes("RGB", (SIDE, SIDE), pixels).save(buffer, "PNG")
    return buffer.getvalue()


def digest(*parts: object) -> bytes:
    return hashlib.sha256(json.dumps(parts).encode()).digest()


class Diary:
    """What an engine did and when, appended to a file that outlives its process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    @contextmanager
    def entry(self, tag: str) -> Iterator[None]:
        """Notes the beginning and the end of a call. A killed process notes no end."""
        self._note(tag, "started")
        how = "stopped"
        try:
            yield
            how = "done"
        finally:
            self._note(tag, how)

    def _note(self, tag: str, what: str) -> None:
        os.write(self._file, json.dumps([tag, what, time.time(), os.getpid()]).encode() + b"\n")


@dataclass(frozen=True)
class Note:
    """One line of a diary; `at` in seconds since the epoch, `worker` is the diary's name."""

    tag: str
    what: str
    at: float
    pid: int
    worker: str


def notes(folder: Path) -> list[Note]:
    """What all engines noted, in order."""
    found = []
    for path in folder.glob("*.diary"):
        lines = map(json.loads, path.read_text().splitlines())
        found += [Note(tag, what, at, pid, path.stem) for tag, what, at, pid in lines]
    return sorted(found, key=lambda note: note.at)
