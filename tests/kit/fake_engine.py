"""An engine that does what a test says, in the place of a service's real one."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from shared.config import ModelConfig
from shared.worker.engine import Memory, Model
from shared.worker.tokens import TokenCount

# What a fake yields for a request: Steps, and what the service's own engine yields.
Script = Callable[[Any], AsyncGenerator[Any, None]]
Count = Callable[[Model, Sequence[str]], Sequence[TokenCount]]


class FakeEngine:
    """See Engine. Acts by its script, and remembers what it was asked, what runs, and whether it was closed."""

    device, dtype = "cpu", "float32"

    def __init__(self, model: Model, act: Script, count: Count) -> None:
        """`model` is what every configured name loads."""
        self.model, self.act, self._count = model, act, count
        self.requests: list[Any] = []
        self.running = 0
        self.idle = asyncio.Event()
        self.closed = False
        self._loaded: list[str] = []

    @property
    def models(self) -> list[Model]:
        return [self._named(name) for name in self._loaded]

    def _named(self, name: str) -> Model:
        return replace(self.model, name=name)

    async def load(self, config: ModelConfig) -> None:
        self._loaded.append(config.name)

    async def unload(self, name: str) -> None:
        self._loaded.remove(name)

    async def generate(self, request: Any) -> AsyncGenerator[Any, None]:
        self.requests.append(request)
        self.running += 1
        self.idle.clear()
        try:
            async with aclosing(self.act(request)) as events:
                async for event in events:
                    yield event
        finally:
            self.running -= 1
            if not self.running:
                self.idle.set()

    def count_tokens(self, name: str, texts: Sequence[str]) -> Sequence[TokenCount]:
        return self._count(self._named(name), texts)

    def memory(self) -> Memory:
        return Memory(7, 80)

    async def close(self) -> None:
        self.closed = True
