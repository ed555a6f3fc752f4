"""A fake engine of the chat worker, and what it may say."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from chat_service.engine.interface import Delta, Finished, TextRequest
from shared.worker.engine import Memory, Model
from shared.worker.tokens import TokenCount
from tests.kit import fake_engine
from tests.kit.counting import count_words
from tests.kit.fake_engine import Script

END = Finished(
    "stop", tokens_generated=2, prompt_tokens=5, seconds_to_first_token=0.25, seconds_generating=1.5, vram_used=1234
)
MODELS = {"qwen_instruct": ("a-real-name", 2048), "qwen_base": ("another-name", 1024)}


async def says_hello(request: TextRequest) -> AsyncGenerator[Delta | Finished, None]:
    yield Delta("Hel", 1)
    yield Delta("lo 👩", 2)
    yield END


async def hangs(request: TextRequest) -> AsyncGenerator[Delta | Finished, None]:
    yield Delta("Hel", 1)
    await asyncio.Event().wait()


def count(model: Model, texts: Sequence[str]) -> list[TokenCount]:
    return [count_words("chat", texts, model.context_tokens, tokens_per_message=5)]


class FakeEngine(fake_engine.FakeEngine):
    """Answers by its script."""

    device, dtype = "cuda:0", "bfloat16"

    def __init__(self, on_change: object = None, *, script: Script = says_hello) -> None:
        super().__init__(Model("", ""), script, count)

    def _named(self, name: str) -> Model:
        real_name, context_tokens = MODELS[name]
        return Model(name, real_name, context_tokens=context_tokens)

    def memory(self) -> Memory:
        return Memory(2000, 8000)
