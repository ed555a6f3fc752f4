"""`python -m chat_service`: the chat worker as a process."""

import os
import signal

from chat_service.config import ChatConfig
from chat_service.servicer import ChatEngine, chat_worker
from shared.config import load
from shared.server import run
from shared.worker.engine import OnChange


def main() -> None:
    config = load(ChatConfig, "chat_service")

    def make_engine(on_change: OnChange) -> ChatEngine:
        # Only here, so that --help and a wrong variable do not wait for torch.
        from chat_service.engine.engine import TransformersEngine

        return TransformersEngine(
            slots=config.slots, context_tokens=config.context_tokens, on_change=on_change, on_death=_end
        )

    run(chat_worker(config, make_engine), config)


def _end() -> None:
    """Drain and end: a fresh process can generate again, and the supervisor of this one starts it."""
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
