"""The Engine protocol: what a worker asks of whatever runs its models. Plain data, no torch.

Each service defines its own requests and results in `engine/interface.py`; all else is the same for all of them.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol, TypeVar

from shared.config import ModelConfig
from shared.worker.tokens import TokenCount


class Phase(Enum):
    """What an engine does with a job; the names are those of the contract's Phase."""

    ENCODING = "encoding"
    DENOISING = "denoising"
    DECODING = "decoding"
    GENERATING = "generating"


@dataclass(frozen=True)
class Step:
    """Progress of a job: `step` of `total` are done in this phase; `total` is 0 where steps are not counted."""

    phase: Phase
    step: int = 0
    total: int = 0


# Called by blocking work to report progress; raises Cancelled once no caller waits for the job.
Report = Callable[[Step], None]
# Called with whether an engine can work, whenever that changes, from any thread.
OnChange = Callable[[bool], None]


@dataclass(frozen=True)
class Model:
    """One loaded model: the name requests use, what it really is, and what it can do. Sizes are in pixels."""

    name: str
    real_name: str
    capabilities: tuple[str, ...] = ()
    size_multiple: int = 0
    min_side: int = 0
    max_pixels: int = 0
    context_tokens: int = 0


class Memory(NamedTuple):
    """Memory of the accelerator in MB: used by all processes on it, and in all. Both 0 without one."""

    used_mb: int
    total_mb: int


RequestT = TypeVar("RequestT", contravariant=True)
EventT = TypeVar("EventT", covariant=True)


class Engine(Protocol[RequestT, EventT]):
    """Runs models. All coroutines belong to the event loop that made the engine."""

    @property
    def models(self) -> Sequence[Model]:
        """The models that are loaded."""

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "cuda:0"."""

    @property
    def dtype(self) -> str:
        """Number format of the weights: "float32"."""

    async def load(self, config: ModelConfig) -> None:
        """Loads a model and runs a self-test on it. Raises ModelUnusable."""

    async def unload(self, name: str) -> None:
        """Frees the memory of a loaded model that no job uses."""

    def generate(self, request: RequestT) -> AsyncGenerator[Step | EventT, None]:
        """Yields progress and results of one job; several may run at once.

        Closing the iterator stops the work within one step, and returns when it has stopped. Raises what the service's
        `interface` names.
        """

    def count_tokens(self, name: str, texts: Sequence[str]) -> Sequence[TokenCount]:
        """What each tokenizer of a loaded model makes of the texts. Blocks; called from one thread, beside jobs."""

    def memory(self) -> Memory:
        """The accelerator's memory now."""

    async def close(self) -> None:
        """Stops at once; jobs that still run fail."""
