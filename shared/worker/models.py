"""The models of one worker: which it may load, in which state each is, and the engine that runs them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum
from functools import partial
from typing import Any, Generic, TypeVar

from atelier.contracts.errors import Draining, InvalidRequest, Violation
from shared.config import ModelConfig
from shared.worker.blocking import ended, in_thread
from shared.worker.engine import Engine, Memory, Model, OnChange
from shared.worker.tokens import TokenCount

EngineT = TypeVar("EngineT", bound=Engine[Any, Any])
MakeEngine = Callable[[OnChange], EngineT]


class State(Enum):
    """What has become of a configured model."""

    ABSENT = "absent"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    UNLOADING = "unloading"
    FAILED = "failed"


class _Entry:
    """A configured model, its state, and how many jobs use it."""

    def __init__(self, config: ModelConfig) -> None:
        self.config, self.state, self.jobs = config, State.ABSENT, 0
        self.changing = asyncio.Lock()
        self.idle = asyncio.Event()
        self.idle.set()


class Models(Generic[EngineT]):
    """Loads and unloads models; both are idempotent, and a model is unloaded only when its last job has ended."""

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        make_engine: MakeEngine[EngineT],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`make_engine` is called once, in a thread, for it may import torch. Its argument is called with whether the
        engine can work, whenever that changes; `on_change` when a model has become ready, or is no longer.
        """
        self._make_engine, self._on_change = make_engine, on_change
        self._entries = {config.name: _Entry(config) for config in configs}
        self._engine: EngineT | None = None

    @property
    def engine(self) -> EngineT:
        """Raises Draining before the engine is there."""
        if self._engine is None:
            raise Draining("this worker is still loading its model")
        return self._engine

    @property
    def loaded(self) -> tuple[Model, ...]:
        """The models that take jobs now, in the order they are configured."""
        found = {model.name: model for model in self._engine.models} if self._engine else {}
        return tuple(found[name] for name, entry in self._entries.items() if entry.state is State.READY)

    def state(self, name: str) -> State:
        return self._entry(name).state

    async def start(self, on_change: OnChange) -> None:
        """Makes the engine and loads every configured model. Raises ModelUnusable."""
        making = in_thread(None, partial(self._make_engine, on_change))
        making.add_done_callback(self._made)  # also after a cancellation, so that `close` finds it
        await ended(making)
        for name in self._entries:
            await self.load(name)

    def _made(self, making: "asyncio.Future[EngineT]") -> None:
        if not making.cancelled() and not making.exception():
            self._engine = making.result()

    async def load(self, name: str) -> None:
        """Returns when the model can be used. Raises ModelUnusable; InvalidRequest for a name that is not known."""
        entry, engine = self._entry(name), self.engine
        async with entry.changing:
            if entry.state is State.READY:
                return
            entry.state = State.LOADING
            try:
                await engine.load(entry.config)
            except BaseException:
                entry.state = State.FAILED
                raise
            entry.state = State.READY
            self._on_change()

    async def unload(self, name: str) -> None:
        """Takes no new job for the model, waits for those it has, then frees its memory. Raises InvalidRequest."""
        entry, engine = self._entry(name), self.engine
        async with entry.changing:
            if entry.state is not State.READY:
                return
            entry.state = State.DRAINING
            self._on_change()
            try:
                await entry.idle.wait()
                entry.state = State.UNLOADING
                await engine.unload(name)
            except BaseException:
                entry.state = State.READY if entry.state is State.DRAINING else State.FAILED
                self._on_change()
                raise
            entry.state = State.ABSENT

    @contextlib.asynccontextmanager
    async def using(self, name: str) -> AsyncIterator[EngineT]:
        """Keeps a model loaded for the length of the block. Raises Draining if it is not ready."""
        entry = self._entry(name)
        if entry.state is not State.READY:
            raise Draining(f"model {name} is {entry.state.value} on this worker")
        entry.jobs += 1
        entry.idle.clear()
        try:
            yield self.engine
        finally:
            entry.jobs -= 1
            if not entry.jobs:
                entry.idle.set()

    def memory(self) -> Memory:
        return self._engine.memory() if self._engine else Memory(0, 0)

    def count_tokens(self, name: str, texts: Sequence[str]) -> Sequence[TokenCount]:
        """See Engine."""
        return self.engine.count_tokens(name, texts)

    async def close(self) -> None:
        """Closes the engine, if it was made."""
        if self._engine:
            await self._engine.close()

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            raise InvalidRequest(Violation("name", f"must be one of {', '.join(self._entries)}"))
        return self._entries[name]
