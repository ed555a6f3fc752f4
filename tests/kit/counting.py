"""A tokenizer for fakes at the Engine seam: a word is a token."""

import re
from collections.abc import Sequence

from shared.worker.tokens import TokenCount


def count_words(
    tokenizer: str, texts: Sequence[str], limit: int, added: int = 0, tokens_per_message: int = 0
) -> TokenCount:
    """Counts words and, with each text, the tokens that are always added."""
    ends = [[match.end() for match in re.finditer(r"\S+", text)] for text in texts]
    read = tuple(_read(text, found, limit - added) for text, found in zip(texts, ends, strict=True))
    tokens = tuple(len(found) + added for found in ends)
    return TokenCount(tokenizer, tokens, limit, tokens_per_message, () if tokenizer == "chat" else read)


def _read(text: str, ends: Sequence[int], most: int) -> int:
    return len(text) if len(ends) <= most else ends[most - 1]
