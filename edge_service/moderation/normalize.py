"""How a text may be read: the words in it, also where they are disguised. Every step takes linear time.

    plain("Ｔ３éɴ")        "t3en"      one alphabet, small letters, nothing invisible, no marks
    key("t33n")            "ten"       signs for letters, runs of a letter as one
    Reading.of(text)       its words as they stand, with signs for letters, joined over hyphens, spelled out

Which of these readings matters, `term_index.py` decides by the words it looks for.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby, pairwise
from typing import ParamSpec, TypeVar

from edge_service.moderation.confusables import ALIKE, LEET, LETTERS, SIGNS, UNSEEN

V = TypeVar("V")
P = ParamSpec("P")
# The longest prompt there is. What is longer, a conversation, hardly ever comes twice.
MAX_REMEMBERED_CHARACTERS = 1000
MAX_TEXTS = 128
# Words come again and again in other texts: what is found in one by itself is kept longer.
MAX_WORDS = 8192
MAX_REMEMBERED_LETTERS = 40

_LEET, _ALIKE, _FOLD = str.maketrans(LEET), str.maketrans(ALIKE), str.maketrans(LEET | ALIKE)
# What precedes the apostrophe is looked at after it: a pattern that begins with its rarest character is found fastest.
_POSSESSIVE = re.compile(r"['’`´ʼ](?<=[^\W\d_].)s(?![^\W_])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CENSORED = str.maketrans(dict.fromkeys("•●∗⁎✱＊", "*"))
_WORDS = re.compile(r"[^\W\d_]+|\d+")
SIGNED = re.compile(rf"(?:[^\W_]|[*{re.escape(SIGNS)}])+")
_EDGES = "*!|+"  # punctuation more often than a letter
_PARTS = re.compile(rf"(?:[^\W_]|[{re.escape(SIGNS)}])+")
_RUN = re.compile(r"(.)\1+")
# Scripts that put no blanks between words: Han, kana. Hangul does.
_NO_BLANKS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_NOT_LETTERS = re.compile(r"[\W_]+")
_TAGS = re.compile(r"[\U000e0020-\U000e007e]")
_MAX_JOINED = 40
_MAX_WINDOW = 4
_MAX_ESCAPES = 4
# Stands between the name of a reading and the field that it is of.
_OF = "|"
_VOWELS = frozenset("aeiouy")  # each a word of its own in some language: "a rousing speech"


def remembering(find: Callable[P, V]) -> Callable[P, V]:
    """The same function, not called again for arguments that came lately, if the first of them, a text, is short.

    Presets add the same words to most requests, and a prompt is read by the refusal and by the rules. For pure
    functions only: what they find in a text is the same every time.
    """
    remembered = lru_cache(maxsize=MAX_TEXTS)(find)

    def found(*arguments: P.args, **named: P.kwargs) -> V:
        is_short = len(str(arguments[0])) <= MAX_REMEMBERED_CHARACTERS
        return remembered(*arguments, **named) if is_short else find(*arguments, **named)  # type: ignore[arg-type]

    return found


def by_word(find: Callable[[str], V]) -> Callable[[str], V]:
    """The same pure function of one word, which remembers what it returned for short words."""
    remembered = lru_cache(maxsize=MAX_WORDS)(find)
    return lambda word: remembered(word) if len(word) <= MAX_REMEMBERED_LETTERS else find(word)


def place(reading: str, field: str) -> str:
    """The key of one more reading of a field's text, beside the text itself."""
    return f"{reading}{_OF}{field}"


def field_of(place: str) -> str:
    """The field that a key stands for."""
    return place.rpartition(_OF)[2]


def plain(text: str) -> str:
    """The text in small letters of one alphabet, without what cannot be seen. Never raises, at most 3 times as long."""
    if text.isascii():  # the same result for less: control characters are all that the tables change
        text = _CONTROL.sub(" ", text.lower())
    else:
        text = unicodedata.normalize("NFKD", text.translate(UNSEEN)).translate(UNSEEN).translate(LETTERS)
        text = unicodedata.normalize("NFC", text.casefold().translate(UNSEEN)).translate(_CENSORED)
    return _POSSESSIVE.sub("", text)


def folded(text: str) -> str:
    """Plain text with letters for the digits and signs that stand for them."""
    return text.translate(_FOLD)


def key(word: str) -> str:
    """What all disguises of a plain word have in common: signs for letters read as these, each run as one letter."""
    return _RUN.sub(r"\1", word.translate(_LEET)).translate(_ALIKE)


_key = by_word(key)


def keys(words: Sequence[str]) -> list[str]:
    """The keys of many plain words."""
    return list(map(_key, words))


def runs(word: str) -> list[tuple[str, int]]:
    """The letters of a word's key with how often each is repeated."""
    return [(folded(letter), len(list(run))) for letter, run in groupby(word.translate(_LEET))]


@dataclass(frozen=True)
class Reading:
    """One text, read in every way. Words are plain; none has a blank."""

    plain: str
    words: list[str]
    """Runs of letters and runs of digits, in order: "nude_teen12" is three."""
    signed: list[str]
    """The same with signs and digits for letters left in, in order: "t33n" is one."""
    chunks: list[str]
    """What stands between blanks, without signs that part letters, in order: "scho-ol gi-rl" is two."""
    joined: frozenset[str]
    """What pieces make together: "te-en", "te en", "t.e.e.n"."""
    spelled: list[str]
    """Runs of single letters put together, without borders of words: "t e e n g i r l"."""
    unbroken: str
    """All letters without what stands between them, where the script has no blanks between words; else empty."""

    @cached_property
    def any_words(self) -> frozenset[str]:
        """Everything that may be a word of its own, but for numbers."""
        return frozenset(word for word in {*self.words, *self.signed, *self.joined} if not word.isdecimal())

    @cached_property
    def rows(self) -> list[tuple[list[str], list[str]]]:
        """The sequences of words without numbers, each with the keys of its words, and none twice."""
        rows: list[list[str]] = []
        for sequence in (self.words, self.signed, self.chunks):
            row = [word for word in sequence if not word.isdecimal()]
            if row not in rows:
                rows.append(row)
        return [(row, keys(row)) for row in rows]

    @staticmethod
    def of(text: str) -> "Reading":
        """Reads a text, which is remembered for a while."""
        return _read(text)

    @classmethod
    def _of(cls, text: str) -> "Reading":
        """Reads a text. What is hidden in invisible tag characters or written as HTML, "te&#101;n", is read after the
        rest: some models are shown it as it is meant.
        """
        hidden = "".join(chr(ord(tag) - 0xE0000) for tag in _TAGS.findall(text))
        meant = _unescaped(text)
        more = [hidden] if hidden else []
        more += [meant] if meant != text else []
        read = plain(" ".join([text, *more]) if more else text)
        parts = _PARTS.findall(read)
        return cls(
            plain=read,
            words=_WORDS.findall(read),
            signed=[word for found in SIGNED.findall(read) if (word := found.strip(_EDGES))],
            chunks=[chunk for found in read.split() if (chunk := _without_signs(found))],
            joined=frozenset(_joined(read)) | frozenset(_windows(parts)) | frozenset(parts),
            spelled=list(_spelled(parts)),
            unbroken=_NOT_LETTERS.sub("", read) if _NO_BLANKS.search(read) else "",
        )


_read = remembering(Reading._of)


def _without_signs(chunk: str) -> str:
    return chunk if chunk.isalnum() else "".join(_PARTS.findall(chunk))


def _unescaped(text: str) -> str:
    """The text without HTML's ways of writing characters, also where these are written so themselves."""
    for _ in range(_MAX_ESCAPES):
        if "&" not in text:
            break
        text = html.unescape(text)
    return text


def _joined(read: str) -> Iterator[str]:
    """Pieces that stand together with signs between them: neighbours, and all of a short whole."""
    for chunk in read.split():
        if chunk.isalnum() or len(pieces := _PARTS.findall(chunk)) < 2:
            continue
        for size in range(2, min(_MAX_WINDOW, len(pieces)) + 1):
            yield from map("".join, zip(*(pieces[start:] for start in range(size)), strict=False))
        if len(chunk) <= 2 * _MAX_JOINED:
            yield "".join(pieces)


def _windows(parts: list[str]) -> Iterator[str]:
    """Pieces with blanks between them: up to four of one or two letters, or a consonant and its rest."""
    for is_short, run in groupby(parts, key=lambda part: len(part) <= 2):
        pieces = list(run) if is_short else []
        for size in range(2, min(_MAX_WINDOW, len(pieces)) + 1):
            yield from map("".join, zip(*(pieces[start:] for start in range(size)), strict=False))
    for left, right in pairwise(parts):
        single = left if len(left) == 1 else right
        if len(single) == 1 and single not in _VOWELS:
            yield left + right


def _spelled(parts: Iterable[str]) -> Iterator[str]:
    for is_single, run in groupby(parts, key=lambda part: len(part) == 1):
        letters = "".join(run) if is_single else ""
        if len(letters) >= 3:
            yield letters
