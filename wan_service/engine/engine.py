"""The video engine, on diffusers' Wan pipelines. See `shared/torch/diffusion.py`."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from shared.config import ModelConfig
from shared.torch.diffusion import DiffusionEngine
from wan_service.engine.checkpoint import MIN_SIDE, Checkpoint, open_checkpoint
from wan_service.engine.interface import VideoRequest, VideoResult
from wan_service.engine.rows import Row
from wan_service.engine.stepper import ClipStepper


class WanEngine(DiffusionEngine[VideoRequest, Row, VideoResult, VideoResult, Checkpoint]):
    """Makes videos and stills from prompts."""

    SELF_TEST_FAILS = "makes no video"

    def __init__(self) -> None:
        checkpoints: dict[str, Checkpoint] = {}
        super().__init__(ClipStepper(checkpoints), checkpoints)

    def _open(self, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> Checkpoint:
        return open_checkpoint(config, device, dtype)

    def _self_tests(self, name: str) -> list[VideoRequest]:
        test = VideoRequest("a self-test", "", MIN_SIDE, MIN_SIDE, frames=5, fps=8, steps=1, guidance_scale=2.0,
                            flow_shift=1.0, seed=0, model=name)  # fmt: skip
        # Without a shift the second of two steps is half-way to the end: both experts work.
        return [test if self._checkpoints[name].boundary is None else replace(test, steps=2)]

    def _result(self, request: VideoRequest, media: Sequence[VideoResult]) -> VideoResult:
        [film] = media
        return film
