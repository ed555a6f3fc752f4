"""How many tokens a text has for a model, and how far the model reads it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Encoding, Tokenizer


@dataclass(frozen=True)
class TokenCount:
    """What one tokenizer counts; see the message of this name in worker.proto."""

    tokenizer: str
    tokens: tuple[int, ...]
    limit: int
    tokens_per_message: int = 0
    read_characters: tuple[int, ...] = ()


class Counter:
    """Counts with a copy of a model's tokenizer: the pipeline, while it runs, tells its own to cut and to pad."""

    def __init__(self, name: str, tokenizer: Tokenizer, limit: int) -> None:
        """`limit` is how many tokens the model reads, those that are always added included."""
        self._name, self._limit = name, limit
        self._encoder: Tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._encoder.no_truncation()
        self._encoder.no_padding()

    def count(self, texts: Sequence[str]) -> TokenCount:
        found = [encoded(self._encoder, text) for text in texts]
        read = [self._read(encoding, text) for encoding, text in zip(found, texts, strict=True)]
        lengths = tuple(len(encoding.ids) for encoding in found)
        return TokenCount(self._name, lengths, self._limit, read_characters=tuple(read))

    def _read(self, encoding: Encoding, text: str) -> int:
        if len(encoding.ids) <= self._limit:
            return len(text)
        own = [place for place, added in enumerate(encoding.special_tokens_mask) if not added]
        kept = own[: self._limit - (len(encoding.ids) - len(own))]
        return int(encoding.offsets[kept[-1]][1]) if kept else 0


def encoded(encoder: Tokenizer, text: str, add_special_tokens: bool = True) -> Encoding:
    """The tokens of a text. Unlike `encode`, this lets other threads run meanwhile."""
    (encoding,) = encoder.encode_batch([text], add_special_tokens=add_special_tokens)
    return encoding
