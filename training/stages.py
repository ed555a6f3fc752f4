"""What is trained, in what order, and how the time is shared among what can be trained at the moment."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan
from torch import nn

from atelier.small_models import sdxl_trained, wan_trained, weights
from training import checkpoints, sdxl_encoder, wan_encoder
from training.clip_patches import clip_patches
from training.judge import Judge
from training.patches import scene_patches
from training.sdxl_decoder import SdxlDecoder
from training.sdxl_encoder import patches_of
from training.sdxl_unet import SdxlUnet
from training.sdxl_words import SdxlWords
from training.sprites import Sprites
from training.task import Device, Task
from training.wan_decoder import WanDecoder
from training.wan_vace import WanVace

SDXL_WORDS_SAMPLES: Final[int] = 60_000
JUDGE_SAMPLES: Final[int] = 30_000


@dataclass(frozen=True)
class Stage:
    """One task in the order of things. `share` is its part of the time among those that can run."""

    name: str
    family: str
    share: float
    build: Callable[[Sprites, Device, Path], Task]
    needs: str | None = None  # the stage that must be done before
    samples: int | None = None  # done after so many; None goes on for ever

    def done(self, folder: Path) -> bool:
        """Whether nothing is left to do; what shipped weights already hold is done."""
        if self.samples is None:
            return False
        found = checkpoints.progress(self._file(folder))["samples"]
        return found >= self.samples or (not found and weights.shipped(self.family).exists())

    def seconds(self, folder: Path) -> float:
        """How long it has been trained on this machine."""
        return checkpoints.progress(self._file(folder))["seconds"]

    def _file(self, folder: Path) -> Path:
        return folder / f"{self.name}.pt"


def next_stage(families: tuple[str, ...], folder: Path, only: Collection[str] | None = None) -> Stage | None:
    """Returns the stage that got least of its share so far, among those named in `only` when it is given; None when
    nothing is left to do."""
    done = {stage.name for stage in STAGES if stage.done(folder)}
    names = {stage.name for stage in STAGES}
    ready = [
        stage
        for stage in STAGES
        if stage.family in families
        and stage.name in (only or names)
        and stage.name not in done
        and (stage.needs is None or stage.needs in done)
    ]
    return min(ready, key=lambda stage: stage.seconds(folder) / stage.share, default=None)


def _sdxl_words(sprites: Sprites, device: Device, folder: Path) -> Task:
    return SdxlWords(device, folder)


def _sdxl_judge(sprites: Sprites, device: Device, folder: Path) -> Task:
    return Judge(sprites, device)


def _sdxl_decoder(sprites: Sprites, device: Device, folder: Path) -> Task:
    vae = frozen_sdxl_vae(sprites, folder)
    task = SdxlDecoder(sprites, device, patches_of(vae))
    task.decoder.take(vae)
    return task


def _sdxl_unet(sprites: Sprites, device: Device, folder: Path) -> Task:
    return SdxlUnet(sprites, device, patches_of(frozen_sdxl_vae(sprites, folder)), folder)


def _wan_decoder(sprites: Sprites, device: Device, folder: Path) -> Task:
    vae = frozen_wan_vae(sprites, folder)
    return WanDecoder(sprites, device, vae, wan_encoder.patches_of(vae))


def _wan_vace(sprites: Sprites, device: Device, folder: Path) -> Task:
    return WanVace(sprites, device, frozen_wan_vae(sprites, folder), folder)


def frozen_sdxl_vae(sprites: Sprites, folder: Path) -> AutoencoderKL:
    """SDXL's VAE with its encoder as it is for good. Its decoder is another stage's: here it is as it was
    shipped, or nothing."""
    vae = sdxl_trained.vae()
    _freeze("sdxl", vae, folder, lambda: sdxl_encoder.make(vae, scene_patches(sprites)))
    return vae


def frozen_wan_vae(sprites: Sprites, folder: Path) -> AutoencoderKLWan:
    """Wan's VAE with its encoder as it is for good, and the best decoder so far."""
    torch.manual_seed(0)
    vae = wan_trained.vae()

    def make() -> None:
        patches = clip_patches(sprites)
        wan_encoder.make(vae, patches)
        wan_encoder.begin(vae, patches)

    _freeze("wan", vae, folder, make)
    checkpoints.load_averaged(folder / "wan-decoder.pt", {"vae": vae})
    return vae


def _freeze(family: str, vae: nn.Module, folder: Path, make: Callable[[], None]) -> None:
    """Load the encoder from where it was frozen, here or in the package, or make it."""
    kept = folder / f"{family}-vae-frozen.pt"
    shipped, _ = weights.read(family)
    if "vae" in shipped and not kept.exists():
        checkpoints.save(kept, {"vae": shipped["vae"]})
    if (frozen := checkpoints.load(kept)) is None:
        make()
        checkpoints.save(kept, {"vae": vae.state_dict()})
    else:
        vae.load_state_dict(frozen["vae"])


STAGES: Final[tuple[Stage, ...]] = (
    Stage("sdxl-words", "sdxl", 1000, _sdxl_words, samples=SDXL_WORDS_SAMPLES),
    Stage("sdxl-unet", "sdxl", 6, _sdxl_unet, needs="sdxl-words"),
    Stage("sdxl-decoder", "sdxl", 1, _sdxl_decoder, needs="sdxl-words"),
    Stage("sdxl-judge", "sdxl", 0.5, _sdxl_judge, needs="sdxl-words", samples=JUDGE_SAMPLES),
    Stage("wan-vace", "wan", 4, _wan_vace),
    Stage("wan-decoder", "wan", 1, _wan_decoder),
)
