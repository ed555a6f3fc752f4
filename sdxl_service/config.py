"""What the image worker is told."""

from pydantic import Field

from shared.config import DiffusionWorkerConfig, ModelConfig


class SdxlConfig(DiffusionWorkerConfig):
    """The image worker: draws 1, 3 or 6 images a job with a Stable Diffusion XL model, exactly as it is told.

    Every option can also be given as an environment variable: --cpu-offload is ATELIER_CPU_OFFLOAD.
    """

    worker_id: str = Field("sdxl_worker_001", description="Name in callbacks.", pattern="^[a-z0-9_.-]+$")
    model: str = Field(
        min_length=1,
        description="What to load: a folder that diffusers saved, a hub id, or one .safetensors file. A folder of the"
        " file's name beside it tells how the file is built; without it that is asked of the hub. Never pickle.",
    )
    slots: int = Field(
        1, ge=1, le=16, description="Jobs executed at once, their steps in turn; one image job fills most devices."
    )

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """The models to load, by the logical names of the contract."""
        return (self.named("lustify_sdxl"),)
