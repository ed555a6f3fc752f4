"""The seam between servicer and engine: what is asked, what comes back, and what an engine is. Plain data, no torch."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from shared.tokens import TokenCount

ModelName = Literal["qwen_instruct", "qwen_base"]


@dataclass(frozen=True)
class ChatTurn:
    """One message: `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class TextRequest:
    """What to answer. `temperature` 0 or `top_p` 0 always takes the likeliest token."""

    request_id: str
    messages: tuple[ChatTurn, ...]
    max_tokens: int
    temperature: float
    top_p: float
    model: ModelName


@dataclass(frozen=True)
class Delta:
    """The next piece of the answer, whole characters only; `tokens` were made so far."""

    text: str
    tokens: int


@dataclass(frozen=True)
class Finished:
    """How an answer ended; always the last event. `tokens_generated` leaves out the stop token."""

    reason: Literal["stop", "length"]
    tokens_generated: int
    prompt_tokens: int
    seconds_to_first_token: float
    seconds_generating: float


@dataclass(frozen=True)
class LoadedModel:
    """One logical model as it was loaded: `real_name` is the checkpoint's, `context_tokens` prompt and answer."""

    name: ModelName
    real_name: str
    context_tokens: int


class Engine(Protocol):
    """What the worker needs of an engine."""

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        """The models it serves."""

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "cuda:0"."""

    @property
    def dtype(self) -> str:
        """Number format of the weights: "float32"."""

    def generate(self, request: TextRequest) -> AsyncGenerator[Delta | Finished, None]:
        """Yield deltas, then exactly one `Finished`. Closing the generator frees the slot within one token.

        Raises InputTooLong, InvalidRequest (an order of roles that the chat template refuses) and EngineFailed.
        """

    def count_tokens(self, model: ModelName, texts: Sequence[str]) -> Sequence[TokenCount]:
        """Tokens of the contents of messages, and what the chat template adds to each; from any one thread."""

    def vram_used_mb(self) -> int:
        """Peak accelerator memory of this process in MB; 0 on a CPU."""

    def device_memory_mb(self) -> tuple[int, int]:
        """The accelerator's memory in MB: used by all processes, total. (0, 0) on a CPU."""

    def close(self) -> None:
        """Stop at once; requests still running end in EngineFailed."""
