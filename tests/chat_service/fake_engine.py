"""An engine that does what a test says, at the seam where the real one stands."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from chat_service.seam import Delta, Finished, LoadedModel, TextRequest
from shared.tokens import TokenCount
from tests.counting import count_words

Script = Callable[[TextRequest], AsyncIterator[Delta | Finished]]
END = Finished("stop", tokens_generated=2, prompt_tokens=5, seconds_to_first_token=0.25, seconds_generating=1.5)


async def says_hello(request: TextRequest) -> AsyncIterator[Delta | Finished]:
    yield Delta("Hel", 1)
    yield Delta("lo 👩", 2)
    yield END


async def hangs(request: TextRequest) -> AsyncIterator[Delta | Finished]:
    yield Delta("Hel", 1)
    await asyncio.Event().wait()


class FakeEngine:
    """Answers by its script, and remembers what it was asked and how often an answer was left or ended."""

    models = (LoadedModel("qwen_instruct", "a-real-name", 2048), LoadedModel("qwen_base", "another-name", 1024))
    device = "cuda:0"
    dtype = "bfloat16"

    def __init__(self, script: Script = says_hello) -> None:
        self.script = script
        self.asked: list[TextRequest] = []
        self.running = 0
        self.idle = asyncio.Event()
        self.closed = False

    async def generate(self, request: TextRequest) -> AsyncGenerator[Delta | Finished, None]:
        self.asked.append(request)
        self.running += 1
        self.idle.clear()
        try:
            async for event in self.script(request):
                yield event
        finally:
            self.running -= 1
            if not self.running:
                self.idle.set()

    def count_tokens(self, model: str, texts: Sequence[str]) -> list[TokenCount]:
        (limit,) = (loaded.context_tokens for loaded in self.models if loaded.name == model)
        return [count_words("chat", texts, limit, tokens_per_message=5)]

    def vram_used_mb(self) -> int:
        return 1234

    def device_memory_mb(self) -> tuple[int, int]:
        return 2000, 8000

    def close(self) -> None:
        self.closed = True
