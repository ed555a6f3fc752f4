"""A fake at the Engine seam of the image worker, and a job for it."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from atelier.contracts.json_form import from_spec_dict
from atelier.pb.sdxl.v1 import sdxl_pb2
from sdxl_service.seam import ImageRequest, LoadedModel, Phase, Picture, Pictures, Report, Step
from shared.tokens import TokenCount
from tests.counting import count_words

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
MODEL = LoadedModel("fake-sdxl", "cpu", "float32", (), size_multiple=8, min_side=64, max_pixels=1024 * 1024)


def draw(request: ImageRequest, report: Report) -> Pictures:
    """Draws nothing, and reports values of its own, so that none can be mistaken for the request's."""
    report(Step(Phase.ENCODING))
    for step in range(1, 12):
        report(Step(Phase.DENOISING, step, 11))
    report(Step(Phase.DECODING, 0, len(request.seeds)))
    made = [Picture(PNG + bytes([seed % 256]), 96, 72, 11, 3.5, seed + 100) for seed in request.seeds]
    return Pictures(tuple(made), 4321, request.weighted, request.reference.kept if request.reference else "")


class FakeEngine:
    """Stands at the Engine seam: remembers what it was asked, and does what the test says."""

    model = MODEL

    def __init__(self) -> None:
        self.requests: list[ImageRequest] = []
        self.act: Callable[[ImageRequest, Report], Pictures] = draw

    def load(self) -> None: ...

    def device_memory_mb(self) -> tuple[int, int]:
        return 7, 80

    def count_tokens(self, texts: Sequence[str]) -> list[TokenCount]:
        return [count_words(name, texts, limit=77, added=2) for name in ("clip_l", "clip_g")]

    def generate(self, request: ImageRequest, report: Report) -> Pictures:
        self.requests.append(request)
        return self.act(request, report)


class Endless:
    """An engine call of 20 ms steps that ends only when its report raises."""

    def __init__(self, hangs: bool = False) -> None:
        self.steps = 0
        self.ended = threading.Event()
        self.wakes = threading.Event()
        self._hangs = hangs

    def __call__(self, request: ImageRequest, report: Report) -> Pictures:
        try:
            while True:
                self.steps += 1
                report(Step(Phase.DENOISING, self.steps, 1000))
                if self._hangs:
                    self.wakes.wait(20)
                time.sleep(0.02)
        finally:
            self.ended.set()

    async def wait_for_end(self) -> None:
        assert await asyncio.to_thread(self.ended.wait, 5)


def request(**changes: Any) -> sdxl_pb2.GenerateRequest:
    """A complete request; `config={"steps": 30}` changes one field of its config."""
    plain = dict(JOB)
    for name, value in changes.items():
        plain[name] = {**plain.get(name, {}), **value} if isinstance(value, dict) else value
    return sdxl_pb2.GenerateRequest(job=from_spec_dict(sdxl_pb2.SdxlJob, plain))
