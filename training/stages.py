"""What is trained, in what order, and how the time is shared among what can be trained at the moment."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL

from atelier.small_models import sdxl_trained, weights
from training import checkpoints
from training.sdxl_decoder import SdxlDecoder, normalise
from training.sdxl_unet import SdxlUnet
from training.sdxl_vae import SdxlVae
from training.sprites import Sprites
from training.task import Device, Task

# How many pictures encoder and decoder learn from together, before latents get their meaning for good.
SDXL_VAE_SAMPLES: Final[int] = 12_000


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


def next_stage(families: tuple[str, ...], folder: Path) -> Stage:
    """Returns the stage that got least of its share so far."""
    done = {stage.name for stage in STAGES if stage.done(folder)}
    ready = [
        stage
        for stage in STAGES
        if stage.family in families and stage.name not in done and (stage.needs is None or stage.needs in done)
    ]
    return min(ready, key=lambda stage: stage.seconds(folder) / stage.share)


def _sdxl_vae(sprites: Sprites, device: Device, folder: Path) -> Task:
    torch.manual_seed(0)
    return SdxlVae(sprites, device, sdxl_trained.vae())


def _sdxl_decoder(sprites: Sprites, device: Device, folder: Path) -> Task:
    return SdxlDecoder(sprites, device, _frozen_vae(sprites, device, folder))


def _sdxl_unet(sprites: Sprites, device: Device, folder: Path) -> Task:
    return SdxlUnet(sprites, device, _frozen_vae(sprites, device, folder), folder)


def _frozen_vae(sprites: Sprites, device: Device, folder: Path) -> AutoencoderKL:
    """The VAE with its encoder as it will stay: from the decoder's training, the package, or the end of the first part,
    whose averaged weights are normalised once and kept."""
    vae = sdxl_trained.vae().to(device.torch)
    kept = folder / "sdxl-vae-frozen.pt"
    shipped, _ = weights.read("sdxl")
    if "vae" in shipped and not kept.exists():
        checkpoints.save(kept, {"vae": shipped["vae"]})
    if (frozen := checkpoints.load(kept)) is None:
        checkpoints.load_averaged(folder / "sdxl-vae.pt", {"vae": vae})
        normalise(vae, sprites, device)
        checkpoints.save(kept, {"vae": vae.state_dict()})
    else:
        vae.load_state_dict(frozen["vae"])
    checkpoints.load_averaged(folder / "sdxl-decoder.pt", {"vae": vae})
    return vae


STAGES: Final[tuple[Stage, ...]] = (
    Stage("sdxl-vae", "sdxl", 1, _sdxl_vae, samples=SDXL_VAE_SAMPLES),
    Stage("sdxl-unet", "sdxl", 4, _sdxl_unet, needs="sdxl-vae"),
    Stage("sdxl-decoder", "sdxl", 1, _sdxl_decoder, needs="sdxl-vae"),
)
