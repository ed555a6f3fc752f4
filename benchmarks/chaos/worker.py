"""`python -m benchmarks.chaos.worker chat|sdxl DIARY PARENT`: a real worker with a stand-in at its Engine seam.

What it is configured with comes from ATELIER_* variables, as for the worker it stands for.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from atelier.contracts.errors import EngineFailed
from benchmarks.chaos.leash import die_with_parent
from benchmarks.chaos.work import SIDE, Diary, Work, picture, words
from chat_service.config import ChatConfig
from chat_service.seam import Delta, Finished, LoadedModel, TextRequest
from chat_service.servicer import ChatWorker
from sdxl_service import seam
from sdxl_service.config import SdxlConfig
from sdxl_service.servicer import sdxl_worker
from shared.config import load
from shared.server import run
from shared.tokens import TokenCount


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


class Talker:
    """A chat engine that says words."""

    models = (LoadedModel("qwen_instruct", "stand-in", 8192), LoadedModel("qwen_base", "stand-in", 8192))
    device, dtype = "cpu", "float32"

    def __init__(self, diary: Diary) -> None:
        self._diary = diary

    async def generate(self, request: TextRequest) -> AsyncGenerator[Delta | Finished, None]:
        prompt = request.messages[-1].content
        work = Work.of(prompt)
        with self._diary.entry(work.tag):
            for count, word in enumerate(words(prompt, request.max_tokens), 1):
                await asyncio.sleep(work.seconds / work.steps)
                yield Delta(f"{word} ", count)
            finish(work)
        yield Finished("stop", work.steps, 1, 0.1, 0.1)

    def count_tokens(self, model: str, texts: Sequence[str]) -> list[TokenCount]:
        return count(texts, "chat")

    def vram_used_mb(self) -> int:
        return 0

    def device_memory_mb(self) -> tuple[int, int]:
        return 0, 0

    def close(self) -> None: ...


class Painter:
    """An image engine that paints noise."""

    model = seam.LoadedModel("stand-in", "cpu", "float32", (), size_multiple=8, min_side=64, max_pixels=2**20)

    def __init__(self, diary: Diary) -> None:
        self._diary = diary

    def load(self) -> None: ...

    def device_memory_mb(self) -> tuple[int, int]:
        return 0, 0

    def count_tokens(self, texts: Sequence[str]) -> list[TokenCount]:
        return count(texts, "clip_l", "clip_g")

    def generate(self, request: seam.ImageRequest, report: seam.Report) -> seam.Pictures:
        work = Work.of(request.prompt)
        with self._diary.entry(work.tag):
            for step in range(1, work.steps + 1):
                time.sleep(work.seconds / work.steps)
                report(seam.Step(seam.Phase.DENOISING, step, work.steps))
            finish(work)
            made = [(seed, picture(request.prompt, seed, request.steps)) for seed in request.seeds]
        scale = request.guidance_scale
        return seam.Pictures(tuple(seam.Picture(png, SIDE, SIDE, request.steps, scale, seed) for seed, png in made), 0)


def main(kind: str, diary: Diary) -> None:
    if kind == "chat":
        chat = load(ChatConfig, "chat", [])
        run(ChatWorker(chat, lambda _: Talker(diary)), chat)
    else:
        sdxl = load(SdxlConfig, "sdxl", [])
        run(sdxl_worker(sdxl, lambda: Painter(diary)), sdxl)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[3]))
    main(sys.argv[1], Diary(Path(sys.argv[2])))
