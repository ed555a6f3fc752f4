"""The chat engine, on transformers' continuous batching: one batch for each checkpoint."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Literal

from atelier.contracts.errors import ModelUnusable
from chat_service.engine.answer import Answer
from chat_service.engine.checkpoint import Checkpoint
from chat_service.engine.interface import Delta, Finished, TextRequest
from shared.config import ModelConfig
from shared.torch import runtime
from shared.worker.blocking import ended, in_thread
from shared.worker.engine import Memory, Model, OnChange
from shared.worker.tokens import TokenCount

# Names what is loaded: where from, and how it is run.
Key = tuple[str, str, str]


class TransformersEngine:
    """See Engine. Weights are loaded once, however many logical models use them.

    `context_tokens` bounds the context below the model's own. `close` it, or its threads keep the process.

    A crash of generation fails what is running and starts it again on the same weights: `on_change` hears False, then
    True. If that does not work, it hears only False, and then `on_death`. Both are called from other threads.
    """

    def __init__(
        self,
        *,
        slots: int = 8,
        context_tokens: int = 8192,
        on_change: OnChange = lambda works: None,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._options = slots, context_tokens, on_change, on_death
        self._by_name: dict[str, Checkpoint] = {}
        self._checkpoints: dict[Key, Checkpoint] = {}
        # Loads, unloads and the end come one after the other: two names may have the same weights.
        self._changing = asyncio.Lock()

    @property
    def models(self) -> list[Model]:
        return [Model(name, c.real_name, context_tokens=c.context_tokens) for name, c in self._by_name.items()]

    @property
    def device(self) -> str:
        return str(self._first.model.device)

    @property
    def dtype(self) -> str:
        return str(self._first.model.dtype).removeprefix("torch.")

    @property
    def _first(self) -> Checkpoint:
        return next(iter(self._checkpoints.values()))

    def memory(self) -> Memory:
        return runtime.device_memory(self._first.model.device) if self._checkpoints else Memory(0, 0)

    def count_tokens(self, name: str, texts: Sequence[str]) -> list[TokenCount]:
        return [self._by_name[name].count(name, texts)]

    async def load(self, config: ModelConfig) -> None:
        key = (config.source, config.device, config.dtype)
        async with self._changing:
            try:
                if key not in self._checkpoints:
                    await ended(in_thread(None, partial(self._start, key)))
                if config.name == "qwen_instruct" and not self._checkpoints[key].tokenizer.chat_template:
                    raise ModelUnusable(f"{config.source}: has no chat template, so it cannot serve {config.name}")
                self._by_name[config.name] = self._checkpoints[key]
            except BaseException:  # also when no caller waits for it any more
                await self._close_unused()
                raise

    def _start(self, key: Key) -> None:
        source, wanted_device, wanted_dtype = key
        device = runtime.choose_device(wanted_device)
        checkpoint = Checkpoint(source, device, runtime.choose_dtype(wanted_dtype, device), *self._options)
        try:
            checkpoint.start()
        except BaseException:
            checkpoint.close()
            raise
        self._checkpoints[key] = checkpoint

    async def unload(self, name: str) -> None:
        async with self._changing:
            del self._by_name[name]
            await self._close_unused()

    async def _close_unused(self) -> None:
        unused = [key for key, checkpoint in self._checkpoints.items() if checkpoint not in self._by_name.values()]
        for key in unused:  # no variable may keep a checkpoint while its memory is freed
            await ended(in_thread(None, self._checkpoints.pop(key).close))
        await asyncio.to_thread(runtime.free_memory)

    async def generate(self, request: TextRequest) -> AsyncGenerator[Delta | Finished, None]:
        started = time.monotonic()
        checkpoint = self._by_name[request.model]
        # Off the event loop: reading a long conversation takes tens of milliseconds, and other streams should not wait.
        prompt = await asyncio.to_thread(checkpoint.read, request)
        answer = Answer(checkpoint.tokenizer.backend_tokenizer, checkpoint.stop_tokens)
        first = None
        with checkpoint.submit(prompt, request, answer.receive):
            while not answer.finished:
                text = await answer.more_text()
                first = first or time.monotonic()
                if text:
                    yield Delta(text, answer.tokens)
        assert first
        yield Finished(
            _reason(answer),
            answer.tokens,
            len(prompt),
            first - started,
            time.monotonic() - first,
            runtime.peak_memory_mb(checkpoint.model.device),
        )

    async def close(self) -> None:
        async with self._changing:  # a load that runs has to end: its threads would keep the process
            for checkpoint in self._checkpoints.values():
                await ended(in_thread(None, checkpoint.close))


def _reason(answer: Answer) -> Literal["stop", "length"]:
    return "stop" if answer.stopped else "length"
