"""What the chat worker is told."""

from pathlib import Path

from pydantic import Field

from shared.config import ModelConfig, WorkerServiceConfig


class ChatConfig(WorkerServiceConfig):
    """The chat worker: answers conversations with a causal language model, many at a time, token by token.

    Every option can also be given as an environment variable: --base-model is ATELIER_BASE_MODEL.
    """

    worker_id: str = Field("chat_worker_001", description="Name in callbacks.", pattern="^[a-z0-9_.-]+$")
    model: str = Field(
        min_length=1,
        description="The model that follows instructions, qwen_instruct: a local folder or a hub id. Safetensors only.",
    )
    base_model: str = Field(
        "", description="The model that continues text, qwen_base. Default: the same, without its chat template."
    )
    context_tokens: int = Field(
        8192,
        ge=256,
        description="Most tokens of one conversation and its answer, if the model itself takes as many. Together with"
        " the slots this sizes the cache, which is taken from memory at start.",
    )
    slots: int = Field(8, ge=1, le=256, description="Answers made at once, in shared batches.")
    waiting: int = Field(16, ge=0, le=1000, description="Requests that may wait for a slot inside the worker.")

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """The models to load, by the logical names of the contract."""
        sources = {"qwen_instruct": self.model, "qwen_base": self.base_model or self.model}
        return tuple(
            ModelConfig(name, str(Path(source).expanduser()), self.device, self.dtype)
            for name, source in sources.items()
        )
