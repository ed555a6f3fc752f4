"""One answer on its way from the generation thread, which makes tokens, to the event loop, which wants text."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from atelier.contracts.errors import EngineFailed


@dataclass(frozen=True)
class Made:
    """How far an answer is: every token so far, whether it is over, and what went wrong if anything did."""

    tokens: Sequence[int]
    finished: bool = False
    failure: str = ""


class Answer:
    """PerOwnerLimiter growing token lists into pieces of text. Belongs to the event loop that creates it.

    Keeps only the newest list: a reader that is slow gets larger pieces and costs no memory.
    """

    def __init__(self, tokenizer: Tokenizer, stop_tokens: frozenset[int]) -> None:
        self.tokens = 0
        self.finished = False
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop_tokens = stop_tokens
        # Holds back the bytes of a character that is not complete yet; at the end of an answer they are dropped.
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._made = Made(())

    def receive(self, made: Made) -> None:
        """Hand over progress, from any thread."""
        # A closed loop has no reader left; the generation thread must go on for the others.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._store, made)

    def _store(self, made: Made) -> None:
        self._made = made
        self._news.set()

    async def more_text(self) -> str:
        """Wait for news and return the text it adds, possibly none. Raises EngineFailed."""
        await self._news.wait()
        self._news.clear()
        if self._made.failure:
            raise EngineFailed(self._made.failure)
        self.finished = self._made.finished
        return "".join(self._text_of(token) for token in self._made.tokens[self.tokens :])

    def _text_of(self, token: int) -> str:
        if token in self._stop_tokens:
            self.stopped = True
            return ""
        self.tokens += 1
        return self._decoder.step(self._tokenizer, token) or ""
