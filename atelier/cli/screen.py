"""What a command shows: bars and words for people, or one JSON object a line for programs."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from google.protobuf.message import Message
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from atelier.errors import AtelierError, reason_word
from atelier.events import Ended, Event, Progressed, StatusChanged, TextAdded
from atelier.results import File
from shared.spec_json import to_spec_dict, to_spec_json

TELL_SECONDS = 10.0


class Screen(Protocol):
    """Where a command shows what happens."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def event(self, event: Event) -> None:
        """Something happened to the job that is followed."""

    def text(self, text: str) -> None:
        """A piece of a chat answer."""

    def saved(self, file: File, path: Path) -> None:
        """A file was written."""

    def say(self, text: str, **facts: Any) -> None:
        """A line for people; `facts` are what a program wants to know of it."""

    def message(self, message: Message, text: str) -> None:
        """A message of the edge, and how people read it."""

    def error(self, error: Exception) -> None:
        """The one line that ends a command that failed."""


class People:
    """Bars and errors on standard error, results on standard output."""

    def __init__(self) -> None:
        self._out, self._err = Console(highlight=False), Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[steps]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._err,
            transient=True,
        )
        self._bar: TaskID | None = None
        self._in_text = False
        self._phase, self._told = "", 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._take_bar()
        self._end_text()

    def event(self, event: Event) -> None:
        match event:
            case StatusChanged(status=status):
                self._show(status, None, 0, None)
            case Progressed(phase=phase, step=step, total_steps=total, remaining_seconds=left):
                self._show(phase, total or None, step, left)
            case TextAdded(text=text):
                self.text(text)
            case Ended():
                self._take_bar()
                self._end_text()

    def text(self, text: str) -> None:
        self._take_bar()
        print(text, end="", flush=True)
        self._in_text = True

    def saved(self, file: File, path: Path) -> None:
        seed = f"  seed {file.metadata['seed']}" if "seed" in file.metadata else ""
        self.say(f"{path}{seed}")

    def say(self, text: str, **facts: Any) -> None:
        self._end_text()
        if text:
            self._out.print(escape(text), soft_wrap=True)

    def message(self, message: Message, text: str) -> None:
        self.say(text)

    def error(self, error: Exception) -> None:
        self._take_bar()
        self._end_text()
        self._err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)

    def _show(self, what: str, total: int | None, done: int, left: float | None) -> None:
        if self._err.is_terminal:
            self._show_bar(what, total, done, left)
        elif what != self._phase or time.monotonic() - self._told > TELL_SECONDS:
            # No bar can move in a file or a pipe; a line now and then says that the work goes on.
            self._phase, self._told = what, time.monotonic()
            steps = f" {done}/{total}" if total and done else ""
            self._err.print(f"{what}{steps}" + ("" if left is None else f", {left:.0f} s left"))

    def _show_bar(self, what: str, total: int | None, done: int, left: float | None) -> None:
        if self._bar is None:
            self._bar = self._bars.add_task(what, total=total, steps="", left="")
            self._bars.start()
        steps = f"{done}/{total}" if total else ""
        eta = "" if left is None else f"{left:.0f} s left"
        self._bars.update(self._bar, description=f"{what:<12}", total=total, completed=done, steps=steps, left=eta)

    def _take_bar(self) -> None:
        if self._bar is not None:
            self._bars.stop()
            self._bars.remove_task(self._bar)
            self._bar = None

    def _end_text(self) -> None:
        if self._in_text:
            print(flush=True)
            self._in_text = False


class Programs:
    """One JSON object a line on standard output, messages in the specification's form. No decoration."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def event(self, event: Event) -> None:
        self._line(to_spec_dict(event.message))

    def text(self, text: str) -> None:
        self._line({"text": text})

    def saved(self, file: File, path: Path) -> None:
        self._line({"saved": str(path), "key": file.key})

    def say(self, text: str, **facts: Any) -> None:
        if facts:
            self._line(facts)

    def message(self, message: Message, text: str) -> None:
        print(to_spec_json(message), flush=True)

    def error(self, error: Exception) -> None:
        reason = reason_word(error) if isinstance(error, AtelierError) else ""
        self._line({"error": {"reason": reason.lower(), "message": str(error)}})

    def _line(self, plain: dict[str, Any]) -> None:
        print(json.dumps(plain, ensure_ascii=False), flush=True)


def screen(as_json: bool) -> Screen:
    """The screen that was asked for."""
    return Programs() if as_json else People()
