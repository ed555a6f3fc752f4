"""What a command shows: bars and words for people, or one JSON object a line for programs."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from google.protobuf.message import Message
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Column
from rich.text import Text

from atelier.cli import waiting
from atelier.contracts.json_form import to_spec_dict, to_spec_json
from atelier.errors import AtelierError, reason_word
from atelier.events import AttemptFailed, Ended, Event, PlaceChanged, Progressed, StatusChanged, TextAdded
from atelier.pb.edge.v1 import edge_pb2
from atelier.results import File

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

    def note(self, text: str) -> None:
        """A line beside the result, for people; programs read the same in the job."""

    def message(self, message: Message, text: str) -> None:
        """A message of the edge, and how people read it."""

    def error(self, error: Exception) -> None:
        """The one line that ends a command that failed."""


class WhatColumn(ProgressColumn):
    """What goes on, put into words each time it is drawn: what is said of the future grows old."""

    def get_table_column(self) -> Column:
        return Column(no_wrap=True)

    def render(self, task: Task) -> Text:
        return Text(task.fields["what"]())


class WorkColumn(BarColumn):
    """A bar, but not before a worker has begun: the words need the room."""

    def render(self, task: Task) -> ProgressBar:
        bar = super().render(task)
        bar.width = 1 if task.fields["waits"] else bar.width
        return bar


class People:
    """Bars and errors on standard error, results on standard output."""

    def __init__(self) -> None:
        self._out, self._err = Console(highlight=False), Console(stderr=True, highlight=False)
        self._bars = Progress(
            WhatColumn(),
            WorkColumn(),
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
            case PlaceChanged(position=position, estimate=estimate):
                self._wait(lambda: waiting.place(position, estimate), f"place {position}")
            case AttemptFailed(error=error, attempt=attempt, not_before=moment):
                pause = waiting.duration((moment - event.time).total_seconds())
                self._tell(f"attempt {attempt} failed: {error}; the next one begins in {pause} or later")
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

    def note(self, text: str) -> None:
        self._end_text()
        self._tell(f"note: {text}")

    def message(self, message: Message, text: str) -> None:
        self.say(text)

    def error(self, error: Exception) -> None:
        self._take_bar()
        self._end_text()
        self._err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)

    def _show(self, what: str, total: int | None, done: int, left: float | None) -> None:
        if self._err.is_terminal:
            self._show_bar(lambda: f"{what:<12}", total, done, left)
        elif self._is_news(what):
            steps = f" {done}/{total}" if total and done else ""
            self._tell(f"{what}{steps}" + ("" if left is None else f", {left:.0f} s left"))

    def _wait(self, what: Callable[[], str], place: str) -> None:
        if self._err.is_terminal:
            self._show_bar(what, None, 0, None, waits=True)
        elif self._is_news(place):
            self._tell(what())

    def _is_news(self, phase: str) -> bool:
        # No bar can move in a file or a pipe; a line now and then says that the work goes on.
        if phase == self._phase and time.monotonic() - self._told < TELL_SECONDS:
            return False
        self._phase, self._told = phase, time.monotonic()
        return True

    def _tell(self, text: str) -> None:
        self._err.print(escape(text), soft_wrap=True)

    def _show_bar(
        self, what: Callable[[], str], total: int | None, done: int, left: float | None, waits: bool = False
    ) -> None:
        if self._bar is None:
            self._bar = self._bars.add_task("", total=total, what=what, waits=waits, steps="", left="")
            self._bars.start()
        steps = f"{done}/{total}" if total else ""
        eta = "" if left is None else f"{left:.0f} s left"
        self._bars.update(self._bar, what=what, waits=waits, total=total, completed=done, steps=steps, left=eta)

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
        plain = to_spec_dict(event.message)
        self._line({"queue": plain} if isinstance(event.message, edge_pb2.QueueUpdate) else plain)

    def text(self, text: str) -> None:
        self._line({"text": text})

    def saved(self, file: File, path: Path) -> None:
        self._line({"saved": str(path), "key": file.key})

    def say(self, text: str, **facts: Any) -> None:
        if facts:
            self._line(facts)

    def note(self, text: str) -> None: ...

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
