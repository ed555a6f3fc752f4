"""One version of all policies, and which one is in force."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from pydantic import ValidationError

from edge_service.policy.document import Document
from edge_service.policy.folder import File, Gathered, gather
from edge_service.policy.mistakes import Mistake, PolicyRefused, Steps, dotted
from edge_service.policy.schema import Strict, findings

M = TypeVar("M", bound=Strict)
T = TypeVar("T")
P = ParamSpec("P")


class Snapshot:
    """All policies as they were at one moment. Nothing changes but that a table is read when it is first asked for."""

    def __init__(self, gathered: Gathered) -> None:
        self.version = gathered.version
        self.files: Mapping[str, File] = gathered.files
        self._tables: dict[str, Strict] = {}

    def table(self, name: str, model: type[M]) -> M:
        """The content of `{name}.yaml`. Raises PolicyRefused with all that is wrong with it."""
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = _table(self.files[name], model)
        assert isinstance(table, model), f"{name} is a {type(table).__name__}, not a {model.__name__}"
        return table

    def mistake(self, name: str, steps: Steps, problem: str) -> Mistake:
        """Something wrong with a value that its file alone does not show."""
        file = self.files[name]
        return Mistake(file.path, *Document(file.content).place(steps), dotted(steps), problem)


def _table(file: File, model: type[M]) -> M:
    document = Document(file.content)
    mistakes = [Mistake(file.path, *found.place, found.path, found.problem) for found in document.found]
    if mistakes and document.value is None:
        raise PolicyRefused(mistakes)
    try:
        table = model.model_validate(document.value)
    except ValidationError as error:
        for steps, problem in findings(model, error):
            mistakes.append(Mistake(file.path, *document.place(steps), dotted(steps), problem))
    if mistakes:
        raise PolicyRefused(mistakes)
    return table


_in_force: list[Snapshot] = []
_held: ContextVar[Snapshot | None] = ContextVar("policies", default=None)


def use(snapshot: Snapshot) -> None:
    """Puts a version in force for the whole process. Who holds another one keeps it to the end of its request."""
    _in_force[:] = [snapshot]


def current() -> Snapshot:
    """The version that this request holds, or else the one in force: what Atelier brings, until another was taken."""
    return _held.get() or in_force()


def in_force() -> Snapshot:
    """The version in force, whatever this request holds."""
    if not _in_force:
        use(Snapshot(gather()))
    return _in_force[0]


@contextlib.contextmanager
def held() -> Iterator[Snapshot]:
    """Keeps the current version for all that runs within, tasks begun there included.

    Not around the `yield` of a generator: that would hold it in the code that iterates over the generator.
    """
    token = _held.set(snapshot := current())
    try:
        yield snapshot
    finally:
        _held.reset(token)


def holding(guard: Callable[P, T]) -> Callable[P, T]:
    """The guard of a server's calls, made to hold the version in force: it is the first thing that a call meets.

    Every call runs in a task of its own, so what is held ends with it: a call sees one version from guard to end.
    """

    def guarded(*arguments: P.args, **named: P.kwargs) -> T:
        _held.set(in_force())
        return guard(*arguments, **named)

    return guarded


def policy(name: str, model: type[M]) -> M:
    """The policy `policies/{name}.yaml` that is in force. Ask again for each request: it may change."""
    return current().table(name, model)
