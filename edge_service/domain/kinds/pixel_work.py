"""How much work a diffusion model has with images or frames of a size."""

import math

from edge_service.domain.kinds.kind import Size, Workload

# Sizes within a bucket take about as long; without buckets every odd size would have an estimate of its own.
SIDE_BUCKET = 64
# No job is no work: rates are per unit.
MIN_UNITS = 1e-6


def pixel_work(type_name: str, size: Size, steps: int, guidance_scale: float, count: int, noun: str) -> Workload:
    """The work of denoising `count` images, or latent frames, of a size."""
    pixels = size.width * size.height
    side = max(SIDE_BUCKET, round(math.sqrt(pixels) / SIDE_BUCKET) * SIDE_BUCKET)
    passes = 2 if guidance_scale > 1 else 1  # without guidance the model need not see the negative prompt
    name = f"{type_name} {side}px {steps} steps {count} {noun} {passes} passes"
    return Workload(name, max(pixels / 1e6 * steps * count * passes, MIN_UNITS))
