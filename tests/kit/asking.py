"""Short ways to ask an engine something."""

from pathlib import Path
from typing import Any

from chat_service.engine.checkpoint import Checkpoint
from chat_service.engine.engine import TransformersEngine
from chat_service.engine.interface import ChatTurn, Delta, Finished, ModelName, TextRequest
from shared.config import ModelConfig

STORY = "Write a long story about a lighthouse keeper and the sea."


def question(
    *contents: str,
    max_tokens: int = 24,
    temperature: float = 0.0,
    top_p: float = 1.0,
    model: ModelName = "qwen_instruct",
) -> TextRequest:
    """A request whose messages are said by user and assistant in turn; greedy unless told otherwise."""
    turns = tuple(ChatTurn("assistant" if index % 2 else "user", text) for index, text in enumerate(contents))
    return TextRequest("chat_turn_1_abcdef", turns or (ChatTurn("user", STORY),), max_tokens, temperature, top_p, model)


async def loaded(folder: Path | str, *names: ModelName, device: str = "auto", **options: Any) -> TransformersEngine:
    """An engine that serves a model folder under these names."""
    engine = TransformersEngine(**options)
    try:
        for name in names or ("qwen_instruct",):
            await engine.load(ModelConfig(name, str(folder), device))
    except BaseException:
        await engine.close()
        raise
    return engine


def checkpoint(engine: TransformersEngine) -> Checkpoint:
    """The only one of an engine."""
    (found,) = engine._checkpoints.values()
    return found


async def ask(engine: TransformersEngine, request: TextRequest) -> tuple[str, Finished]:
    """The whole answer and how it ended."""
    *deltas, end = [event async for event in engine.generate(request)]
    assert isinstance(end, Finished)
    return "".join(event.text for event in deltas if isinstance(event, Delta)), end
