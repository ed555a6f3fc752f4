"""What a model reads of a text once its weights are applied: "(te:1.0)en" is one word to it, "x(te:1.1)x" three.

Weights can part a word, join two, take one back, or hide what stands between two, in more ways than a filter of words
knows. So a text that has any is judged together with what becomes of it, whether or not compel is on: only image jobs,
whose texts are short, have them.
"""

from collections.abc import Iterator, Mapping, Sequence

from atelier.contracts.prompt_weights import Piece, Unreadable, read
from edge_service.moderation.normalize import place

PROMPT, WEIGHTS = "prompt", "compel_weights"
# Marks with which a text could pretend to be no part of what is taken back.
_MARKS = str.maketrans("():", "   ")


def with_readings(texts: Mapping[str, str]) -> dict[str, str]:
    """The texts of an image job by field, and every other reading of them under a key of its own. Never raises.

    The model reads the weighted words after the prompt, as one text. A text whose weights cannot be read is no text of
    a job that has them, and has no other reading.
    """
    found = dict(texts)
    if texts.get(PROMPT) and texts.get(WEIGHTS):
        found[place("with weights", PROMPT)] = f"{texts[PROMPT]}, {texts[WEIGHTS]}"
    for key, text in list(found.items()):
        found |= {place(name, key): reading for name, reading in _readings(text)}
    return found


def _readings(text: str) -> Iterator[tuple[str, str]]:
    try:
        pieces = read(text)
    except Unreadable:
        return
    if "".join(piece.text for piece in pieces) == text:
        return
    yield from _both("all", pieces)
    if less := [Piece(piece.text.translate(_MARKS), piece.weight) for piece in pieces if piece.weight < 1]:
        yield from ((name, f"({reading})0.1") for name, reading in _both("less", less))
    # The less a piece counts the less it stands between its neighbours.
    for tenth in sorted({_tenth(piece) for piece in pieces if piece.weight < 1}):
        yield from _both(f"over 0.{tenth}", [piece for piece in pieces if _tenth(piece) > tenth])


def _tenth(piece: Piece) -> int:
    return int(piece.weight * 10)


def _both(name: str, pieces: Sequence[Piece]) -> Iterator[tuple[str, str]]:
    """The pieces as one text and as words: which of the two they are to a model depends on their weights."""
    yield f"{name}, joined", "".join(piece.text for piece in pieces)
    yield f"{name}, words", " ".join(piece.text for piece in pieces)
