"""A fake engine of the video worker, and a job for it."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from atelier.contracts.json_form import from_spec_dict
from atelier.pb.wan.v1 import wan_pb2
from shared.worker.engine import Model, Phase, Step
from shared.worker.tokens import TokenCount
from tests.kit import fake_engine
from tests.kit.counting import count_words
from wan_service.engine.interface import VideoRequest, VideoResult

JOB: dict[str, Any] = {
    "id": "wan_video_fast_1734567890_def456",
    "type": "video_fast",
    "prompt": "waves",
    "user_id": "user123",
    "config": {"width": 480, "height": 832, "frames": 83, "fps": 24, "reference_mode": "none"},
    "sampling": {"steps": 25, "guidance_scale": 6.5, "flow_shift": 5.0, "seed": 0, "negative_prompt": "fog"},
}
MP4, PNG = b"\0\0\0\x20ftypisom", b"\x89PNG\r\n\x1a\n"
MODEL = Model("", "fake-wan", (), size_multiple=16, min_side=64, max_pixels=1280 * 720)


async def film(request: VideoRequest) -> AsyncGenerator[Step | VideoResult, None]:
    """Films nothing, and reports values of its own, so that none can be mistaken for the request's."""
    yield Step(Phase.ENCODING)
    for step in range(1, 10):
        yield Step(Phase.DENOISING, step, 9)
    yield Step(Phase.DECODING, 0, 3)
    made: dict[str, Any] = {"steps": 9, "guidance_scale": 2.5, "seed": request.seed + 100, "vram_used": 4321}
    if request.still:
        yield VideoResult(PNG, 64, 80, frames=1, fps=None, duration=None, **made)
    else:
        yield VideoResult(MP4, 96, 112, frames=17, fps=8, duration=17 / 8, **made)


def count(model: Model, texts: Sequence[str]) -> list[TokenCount]:
    return [count_words("umt5", texts, limit=512, added=1)]


class FakeEngine(fake_engine.FakeEngine):
    """Films what its script says."""

    def __init__(self, on_change: object = None) -> None:
        super().__init__(MODEL, film, count)


def request(**changes: Any) -> wan_pb2.GenerateRequest:
    """A complete request; `config={"fps": 8}` changes one field of its config."""
    plain = dict(JOB)
    for name, value in changes.items():
        plain[name] = {**plain.get(name, {}), **value} if isinstance(value, dict) else value
    return wan_pb2.GenerateRequest(job=from_spec_dict(wan_pb2.WanJob, plain))
