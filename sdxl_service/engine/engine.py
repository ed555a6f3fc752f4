"""The image engine, on diffusers' SDXL pipelines. See `shared/torch/diffusion.py`."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from PIL import Image

from sdxl_service.engine.checkpoint import MIN_SIDE, Checkpoint, open_checkpoint
from sdxl_service.engine.interface import ImageRequest, Picture, Pictures, Reference
from sdxl_service.engine.rows import Row
from sdxl_service.engine.stepper import ImageStepper
from shared.config import ModelConfig
from shared.media import png
from shared.torch.diffusion import DiffusionEngine
from shared.torch.runtime import peak_memory_mb


class SdxlEngine(DiffusionEngine[ImageRequest, Row, Picture, Pictures, Checkpoint]):
    """Draws images from prompts and from pictures."""

    SELF_TEST_FAILS = "draws nothing"

    def __init__(self) -> None:
        checkpoints: dict[str, Checkpoint] = {}
        super().__init__(ImageStepper(checkpoints), checkpoints)

    def _open(self, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> Checkpoint:
        return open_checkpoint(config, device, dtype)

    def _self_tests(self, name: str) -> list[ImageRequest]:
        plain = ImageRequest("a self-test", "", MIN_SIDE, MIN_SIDE, steps=2, guidance_scale=2.0, seeds=(0,), model=name)
        grey = Reference(png.encode(Image.new("RGB", (MIN_SIDE, MIN_SIDE), "grey"), {}), denoise=0.5)
        return [plain, replace(plain, weighted=True, weights="(sea:1.2)", reference=grey)]

    def _result(self, request: ImageRequest, media: Sequence[Picture]) -> Pictures:
        vram_used = peak_memory_mb(self._checkpoints[request.model].device)
        kept = request.reference.kept if request.reference else ""
        return Pictures(tuple(media), vram_used, request.weighted, kept)
