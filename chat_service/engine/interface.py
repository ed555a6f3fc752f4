"""What the chat engine is asked, and what it answers. Plain data, no torch.

`Engine.generate` of this service takes a TextRequest, yields Deltas and ends with Finished. It raises InputTooLong,
InvalidRequest (an order of roles that the chat template refuses) and EngineFailed.
"""

from dataclasses import dataclass
from typing import Literal

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
    """How an answer ended; always the last event. `tokens_generated` leaves out the stop token.

    `vram_used` is the peak in MB, 0 without an accelerator.
    """

    reason: Literal["stop", "length"]
    tokens_generated: int
    prompt_tokens: int
    seconds_to_first_token: float
    seconds_generating: float
    vram_used: int = 0
