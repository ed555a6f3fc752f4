"""Pictures <-> latents: what the model works on, of shape (1, channels, height / 8, width / 8)."""

import io
from typing import Any

import torch
from PIL import Image, ImageOps

from atelier.contracts.errors import EngineFailed, ReferenceUnusable
from sdxl_service.engine.interface import ImageRequest


def encode(pipeline: Any, request: ImageRequest) -> torch.Tensor:
    """The latents of the picture that a request starts from, scaled to cover its size and cropped around the middle.

    Without chance: the same picture gives the same latents, so that only the seeds tell the images of a batch apart.
    Raises ReferenceUnusable for what is no PNG picture, which is what the edge makes of every reference.
    """
    vae = pipeline.vae
    pixels = pipeline.image_processor.preprocess(_fitted(request)).to(pipeline._execution_device, vae.dtype)
    latents = vae.encode(pixels).latent_dist.mode()
    if shift_and_scale := _shift_and_scale(vae, latents):
        latents = (latents - shift_and_scale[0]) * vae.config.scaling_factor / shift_and_scale[1]
    else:
        latents = latents * vae.config.scaling_factor
    encoded: torch.Tensor = latents.to(pipeline.unet.dtype)
    return encoded


def decode(pipeline: Any, latents: torch.Tensor) -> Image.Image:
    """The picture of some latents. Raises EngineFailed if they are none."""
    vae = pipeline.vae
    latents = latents.to(vae.dtype)
    if shift_and_scale := _shift_and_scale(vae, latents):
        latents = latents * shift_and_scale[1] / vae.config.scaling_factor + shift_and_scale[0]
    else:
        latents = latents / vae.config.scaling_factor
    pixels = vae.decode(latents, return_dict=False)[0]
    if not torch.isfinite(pixels).all():
        raise EngineFailed("the model computed no picture but not-a-numbers; another dtype may help")
    image: Image.Image = pipeline.image_processor.postprocess(pixels)[0]
    return image


def _fitted(request: ImageRequest) -> Image.Image:
    assert request.reference is not None
    try:
        with Image.open(io.BytesIO(request.reference.content), formats=["PNG"]) as image:
            return ImageOps.fit(image.convert("RGB"), (request.width, request.height), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ReferenceUnusable("reference: these bytes are no PNG picture") from None


def _shift_and_scale(vae: Any, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Mean and deviation of the latents by channel, for the models that were trained with them taken out."""
    if not (vae.config.latents_mean and vae.config.latents_std):
        return None
    mean, deviation = (
        torch.tensor(values).view(1, -1, 1, 1).to(like) for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, deviation
