"""What the video worker is told."""

from pydantic import Field

from shared.config import DiffusionWorkerConfig, ModelConfig


class WanConfig(DiffusionWorkerConfig):
    """The video worker: makes one video or still a job with a Wan model, exactly as it is told.

    Every option can also be given as an environment variable: --cpu-offload is ATELIER_CPU_OFFLOAD.
    """

    worker_id: str = Field("wan_worker_001", description="Name in callbacks.", pattern="^[a-z0-9_.-]+$")
    model: str = Field(
        min_length=1, description="What to load: a folder that diffusers saved, or a hub id. Never pickle."
    )
    slots: int = Field(
        1, ge=1, le=16, description="Jobs executed at once, their steps in turn; one video fills most devices."
    )

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """The models to load, by the logical names of the contract."""
        return (self.named("wan_2.1"),)
