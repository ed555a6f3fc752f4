"""`python -m benchmarks.chaos.worker chat|sdxl DIARY PARENT`: a real worker with a stand-in for its engine.

What it is configured with comes from ATELIER_* variables, as for the worker it stands for.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from atelier.contracts.errors import EngineFailed
from benchmarks.chaos.leash import die_with_parent
from benchmarks.chaos.work import SIDE, Diary, Work, picture, words
from chat_service.config import ChatConfig
from chat_service.engine.interface import Delta, Finished, TextRequest
from chat_service.servicer import chat_worker
from sdxl_service.config import SdxlConfig
from sdxl_service.engine.interface import ImageRequest, Picture, Pictures
from sdxl_service.servicer import sdxl_worker
from shared.config import ModelConfig, load
from shared.server import run
from shared.worker.engine import Memory, Model, Phase, Step
from shared.worker.tokens import TokenCount


def finish(work: Work) -> None:
    """Ends as the work says."""
    if work.end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if work.end == "fail":
        raise EngineFailed("the engine failed, as it was asked to")


def count(texts: Sequence[str], *tokenizers: str) -> list[TokenCount]:
    """Counts words; nothing is too long."""
    tokens, read = tuple(len(text.split()) for text in texts), tuple(len(text) for text in texts)
    return [TokenCount(name, tokens, 8192, read_characters=read) for name in tokenizers]


class StandIn:
    """See Engine. Loads nothing."""

    device, dtype = "cpu", "float32"
    tokenizers: tuple[str, ...] = ()

    def __init__(self, diary: Diary) -> None:
        self._diary = diary
        self.models: list[Model] = []

    async def load(self, config: ModelConfig) -> None:
        sizes = {"size_multiple": 8, "min_side": 64, "max_pixels": 2**20, "context_tokens": 8192}
        self.models.append(Model(config.name, "stand-in", **sizes))

    async def unload(self, name: str) -> None:
        self.models = [model for model in self.models if model.name != name]

    def count_tokens(self, name: str, texts: Sequence[str]) -> list[TokenCount]:
        return count(texts, *self.tokenizers)

    def memory(self) -> Memory:
        return Memory(0, 0)

    async def close(self) -> None: ...


class Talker(StandIn):
    """A chat engine that says words."""

    tokenizers = ("chat",)

    async def generate(self, request: TextRequest) -> AsyncGenerator[Step | Delta | Finished, None]:
        prompt = request.messages[-1].content
        work = Work.of(prompt)
        with self._diary.entry(work.tag):
            for made, word in enumerate(words(prompt, request.max_tokens), 1):
                await asyncio.sleep(work.seconds / work.steps)
                yield Delta(f"{word} ", made)
            finish(work)
        yield Finished("stop", work.steps, 1, 0.1, 0.1)


class Painter(StandIn):
    """An image engine that paints noise."""

    tokenizers = ("clip_l", "clip_g")

    async def generate(self, request: ImageRequest) -> AsyncGenerator[Step | Pictures, None]:
        work = Work.of(request.prompt)
        with self._diary.entry(work.tag):
            for step in range(1, work.steps + 1):
                await asyncio.sleep(work.seconds / work.steps)
                yield Step(Phase.DENOISING, step, work.steps)
            finish(work)
            made = [(seed, picture(request.prompt, seed, request.steps)) for seed in request.seeds]
        scale = request.guidance_scale
        yield Pictures(tuple(Picture(png, SIDE, SIDE, request.steps, scale, seed) for seed, png in made), 0)


def main(kind: str, diary: Diary) -> None:
    if kind == "chat":
        chat = load(ChatConfig, "chat", [])
        run(chat_worker(chat, lambda _: Talker(diary)), chat)
    else:
        sdxl = load(SdxlConfig, "sdxl", [])
        run(sdxl_worker(sdxl, lambda _: Painter(diary)), sdxl)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[3]))
    main(sys.argv[1], Diary(Path(sys.argv[2])))
