import asyncio
from collections.abc import Mapping

import pytest

from atelier.contracts.errors import ContentNotAllowed
from edge_service.moderation.classifier import Classifier, classify
from edge_service.moderation.rules import Content

TEXTS = {"prompt": "a fox"}
RULES = Content.model_validate(
    {
        "version": 1,
        "lists": {},
        "rules": [],
        "classification": {"modes": ["sfw"], "prompt": "?", "passes": ["sfw"], "seconds": 0.05},
    }
)


def answering(answer: str) -> Classifier:
    async def ask(texts: Mapping[str, str]) -> str:
        assert texts == TEXTS
        return answer

    return ask


async def failing(texts: Mapping[str, str]) -> str:
    raise RuntimeError


async def silent(texts: Mapping[str, str]) -> str:
    await asyncio.Event().wait()
    return "sfw"


async def speechless(texts: Mapping[str, str]) -> str:
    return None  # type: ignore[return-value]


@pytest.mark.parametrize("answer", ["sfw", " SFW\n"])
async def test_a_word_that_passes_passes_and_is_told(answer: str):
    assert await classify(TEXTS, "sfw", answering(answer), RULES) == "classified as sfw"


@pytest.mark.parametrize(
    "ask", [answering("nsfw"), answering(""), answering("sfw, I think"), failing, silent, speechless, None]
)
async def test_anything_else_does_not(ask: Classifier | None):
    with pytest.raises(ContentNotAllowed, match=r"^prompt: not classified as sfw$"):
        await classify(TEXTS, "sfw", ask, RULES)


async def test_where_the_policy_wants_nobody_asked_nobody_is():
    assert await classify(TEXTS, "nsfw", failing, RULES) == ""
    assert await classify(TEXTS, "sfw", failing, RULES.model_copy(update={"classification": None})) == ""
