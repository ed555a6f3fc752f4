"""A fake engine of the image worker, and a job for it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from atelier.contracts.json_form import from_spec_dict
from atelier.pb.sdxl.v1 import sdxl_pb2
from sdxl_service.engine.interface import ImageRequest, Picture, Pictures
from shared.worker.blocking import ended
from shared.worker.engine import Model, Phase, Step
from shared.worker.tokens import TokenCount
from tests.kit import fake_engine
from tests.kit.counting import count_words

JOB: dict[str, Any] = {
    "id": "sdxl_image_high_1734567890_abc123",
    "type": "sdxl_image_high",
    "prompt": "a lighthouse",
    "user_id": "user123",
    "config": {
        "num_images": 3, "steps": 25, "guidance_scale": 7.5, "resolution": "128x64", "seed": 7,
        "negative_prompt": "fog",
    },
    "sampling": {"scheduler": "euler", "clip_skip": 0, "seeds": [7, 8, 9]},
}  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n"
MODEL = Model("", "fake-sdxl", (), size_multiple=8, min_side=64, max_pixels=1024 * 1024)


async def draw(request: ImageRequest) -> AsyncGenerator[Step | Pictures, None]:
    """Draws nothing, and reports values of its own, so that none can be mistaken for the request's."""
    yield Step(Phase.ENCODING)
    for step in range(1, 12):
        yield Step(Phase.DENOISING, step, 11)
    yield Step(Phase.DECODING, 0, len(request.seeds))
    made = [Picture(PNG + bytes([seed % 256]), 96, 72, 11, 3.5, seed + 100) for seed in request.seeds]
    yield Pictures(tuple(made), 4321, request.weighted, request.reference.kept if request.reference else "")


def count(model: Model, texts: Sequence[str]) -> list[TokenCount]:
    return [count_words(name, texts, limit=77, added=2) for name in ("clip_l", "clip_g")]


class FakeEngine(fake_engine.FakeEngine):
    """Draws what its script says."""

    def __init__(self, on_change: object = None) -> None:
        super().__init__(MODEL, draw, count)


class Endless:
    """A script of 20 ms steps that ends only when it is closed; one that hangs, not before `wakes` is set."""

    def __init__(self, hangs: bool = False) -> None:
        self.steps = 0
        self.ended, self.wakes = asyncio.Event(), asyncio.Event()
        self._hangs = hangs

    async def __call__(self, request: ImageRequest) -> AsyncGenerator[Step | Pictures, None]:
        try:
            while True:
                self.steps += 1
                yield Step(Phase.DENOISING, self.steps, 1000)
                if self._hangs:
                    await ended(asyncio.ensure_future(self.wakes.wait()))
                await asyncio.sleep(0.02)
        finally:
            self.ended.set()

    async def wait_for_end(self) -> None:
        async with asyncio.timeout(5):
            await self.ended.wait()


def request(**changes: Any) -> sdxl_pb2.GenerateRequest:
    """A complete request; `config={"steps": 30}` changes one field of its config."""
    plain = dict(JOB)
    for name, value in changes.items():
        plain[name] = {**plain.get(name, {}), **value} if isinstance(value, dict) else value
    return sdxl_pb2.GenerateRequest(job=from_spec_dict(sdxl_pb2.SdxlJob, plain))
