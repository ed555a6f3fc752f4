"""Tokens become text: whole characters, in order, and nothing for the stop token."""

import asyncio
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from atelier.contracts.errors import EngineFailed
from chat_service.engine.answer import Answer, Made

MANY_SCRIPTS = "Hi 👩‍👩‍👧‍👦, 日本語, naïve, עברית, ไทย — ok 🏳️‍🌈"
STOP = frozenset({2})


@pytest.fixture
def tokenizer(model_folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(model_folder / "tokenizer.json"))


async def pieces(tokenizer: Tokenizer, tokens: list[int]) -> list[str]:
    """The text of each token, handed over one by one."""
    answer = Answer(tokenizer, STOP)
    texts = []
    for count in range(1, len(tokens) + 1):
        answer.receive(Made(tokens[:count]))
        texts.append(await answer.more_text())
    return texts


async def test_every_piece_is_whole_characters(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode(MANY_SCRIPTS).ids
    texts = await pieces(tokenizer, tokens)
    assert "" in texts, "no character of this text spans tokens, so it proves nothing"
    assert not any("\ufffd" in text for text in texts)
    assert "".join(texts) == MANY_SCRIPTS


async def test_a_character_that_never_completes_is_left_out(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("ok 👩").ids
    assert "".join(await pieces(tokenizer, tokens[:-1])).strip() == "ok"


async def test_the_stop_token_is_neither_text_nor_counted(tokenizer: Tokenizer) -> None:
    answer = Answer(tokenizer, STOP)
    answer.receive(Made([*tokenizer.encode("Good night").ids, 2], finished=True))
    assert await answer.more_text() == "Good night"
    assert (answer.tokens, answer.stopped, answer.finished) == (2, True, True)


async def test_a_slow_reader_gets_everything_in_one_piece(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("one two three four").ids
    answer = Answer(tokenizer, STOP)
    for count in range(1, len(tokens) + 1):
        answer.receive(Made(tokens[:count]))
    assert await answer.more_text() == "one two three four"


async def test_a_failure_is_raised_to_the_reader(tokenizer: Tokenizer) -> None:
    answer = Answer(tokenizer, STOP)
    answer.receive(Made((), finished=True, failure="the chat model failed"))
    with pytest.raises(EngineFailed, match="the chat model failed"):
        await answer.more_text()


def test_handing_over_to_a_closed_loop_does_no_harm(tokenizer: Tokenizer) -> None:
    async def start() -> Answer:
        return Answer(tokenizer, STOP)

    answer = asyncio.run(start())
    answer.receive(Made([1]))
