"""`python -m chat_service`: the chat worker as a process."""

import os
import signal
from collections.abc import Callable

from chat_service.config import ChatConfig
from chat_service.seam import Engine
from chat_service.servicer import ChatWorker
from shared.config import load
from shared.server import run


def main() -> None:
    config = load(ChatConfig, "chat_service")

    def load_engine(on_change: Callable[[bool], None]) -> Engine:
        # Only here, so that --help and a wrong variable do not wait for torch.
        from chat_service.engine import TransformersEngine

        return TransformersEngine(
            config.sources,
            device=config.device,
            dtype=config.dtype,
            slots=config.slots,
            context_tokens=config.context_tokens,
            on_change=on_change,
            on_death=_end,
        )

    run(ChatWorker(config, load_engine), config)


def _end() -> None:
    """Drain and end: a fresh process can generate again, and the supervisor of this one starts it."""
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
