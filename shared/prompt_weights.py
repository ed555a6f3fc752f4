r"""Weights in a prompt: "a (red:1.3) boat" -> its pieces, each with how much it counts. Pure text, no model.

    (red boat:1.3)   counts 1.3 times                  the way most programs write it
    (red boat)1.3    the same                          compel's way
    (red boat)++     1.1 for each +, 0.9 for each -    compel's way
    boat++  boat-    the same for one word
    (red boat)       counts as it is; groups nest, and their weights multiply
    \( \) \: \+ \-   the character itself

Everything else is text. A group without its end, a weight that is no number or out of bounds, and what compel can do
besides weights (.and, .blend, .swap) are refused, never read as text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

LEAST, MOST = 0.0, 3.0
MOST_PIECES = 64
"""Of one text. Each piece that counts less than 1 is one more run of both text encoders."""
PLUS, MINUS = 1.1, 0.9

_ESCAPED = re.compile(r"\\([()\\:+\-])")
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+")
_NUMBER_LIKE = re.compile(r"[+-]?[0-9.]+")
_STEPS = re.compile(r"[+-]+")
# Compel weighs what stands in quotes; here quotes are text, and nobody shall think that they are not.
_QUOTED = re.compile(r'"[^"]+"(?=\+|-|[0-9]*\.[0-9])')
# What compel reads as a call.
_CALL = re.compile(r"\.(and|add|blend|swap|attend)\(")
# A run of + or - weighs what is before it only where the word ends with it.
_END_OF_WORD = re.compile(r"[\s,.;:!?()]|$")
_PLAIN = re.compile(r"[^\\()+\-:]+")


class Unreadable(ValueError):
    """The text breaks the rules of this module. Its message says where and how, and holds nothing of the text but
    marks and numbers."""


@dataclass(frozen=True)
class Piece:
    """Some of a prompt, and how much it counts: 1 is as if it stood there without a weight."""

    text: str
    weight: float


@dataclass
class _Group:
    """An open group: where it began, and what it holds so far."""

    start: int
    pieces: list[Piece] = field(default_factory=list)

    def close(self, weight: float) -> Iterator[Piece]:
        return (Piece(piece.text, piece.weight * weight) for piece in self.pieces)


def read(text: str) -> tuple[Piece, ...]:
    """The pieces of a prompt in order, neighbours of the same weight as one. Raises Unreadable."""
    if found := _QUOTED.search(text):
        raise Unreadable(
            f"the weight at character {found.end() + 1} is behind a quote; write ( ) around what it is for"
        )
    groups, at = [_Group(0)], 0
    while at < len(text):
        if text[at] == "(":
            groups.append(_Group(at))
            at += 1
        elif text[at] == ")":
            at = _close(text, at, groups, 1.0)
        elif text[at] == ":" and len(groups) > 1:
            at = _colon(text, at, groups)
        else:
            at = _words(text, at, groups[-1].pieces)
    if len(groups) > 1:
        raise Unreadable(f"the ( at character {groups[-1].start + 1} is never closed; write \\( for the character")
    return _merged(groups[0].pieces)


def has_weights(text: str) -> bool:
    """Whether a text looks as if its writer wanted weights: "(red:1.3)" or "(red)1.3"."""
    return re.search(r"\([^()]*:\s*[0-9.]+\s*\)|\([^()]+\)[0-9]*\.[0-9]", text) is not None


def _close(text: str, at: int, groups: list[_Group], weight: float) -> int:
    """Ends the innermost group at the `)` at `at`; returns where the text goes on."""
    if len(groups) == 1:
        raise Unreadable(f"the ) at character {at + 1} closes nothing; write \\) for the character")
    group, end = groups.pop(), at + 1
    if call := _CALL.match(text, end):
        raise Unreadable(f".{call[1]} at character {end + 1} is not supported, only weights are")
    if found := _NUMBER.match(text, end) or _ending_steps(text, end):
        if weight != 1.0:
            raise Unreadable(f"the group at character {group.start + 1} has two weights")
        weight, end = _weight(found[0], end), found.end()
    groups[-1].pieces.extend(group.close(weight))
    return end


def _colon(text: str, at: int, groups: list[_Group]) -> int:
    """Reads ":1.3)" as the weight and the end of a group; any other colon is text."""
    inside = text[at + 1 :].partition(")")[0]
    if text[at + 1 + len(inside) :][:1] != ")":
        raise Unreadable(f"the ( at character {groups[-1].start + 1} is never closed; write \\( for the character")
    word = inside.strip()
    if word and not _NUMBER_LIKE.fullmatch(word):
        groups[-1].pieces.append(Piece(":", 1.0))
        return at + 1
    if not word:
        raise Unreadable(f"a weight is missing after the : at character {at + 1}; write \\: for the character")
    return _close(text, at + 1 + len(inside), groups, _weight(word, at + 1))


def _words(text: str, at: int, pieces: list[Piece]) -> int:
    """Reads text up to the next mark of a group, and the + or - behind a word."""
    if escaped := _ESCAPED.match(text, at):
        pieces.append(Piece(escaped[1], 1.0))
        return escaped.end()
    if plain := _PLAIN.match(text, at):
        pieces.append(Piece(plain[0], 1.0))
        return plain.end()
    if (steps := _ending_steps(text, at)) and (word := _taken_back(pieces)):
        pieces.append(Piece(word, _weight(steps[0], at)))
        return steps.end()
    if steps := _STEPS.match(text, at):
        pieces.append(Piece(steps[0], 1.0))
        return steps.end()
    pieces.append(Piece(text[at], 1.0))  # a lone backslash, or a colon outside of groups
    return at + 1


def _ending_steps(text: str, at: int) -> re.Match[str] | None:
    steps = _STEPS.match(text, at)
    return steps if steps and _END_OF_WORD.match(text, steps.end()) else None


def _taken_back(pieces: list[Piece]) -> str:
    """Takes the word that the text ends with off the pieces; "" if it ends with none."""
    word = ""
    while pieces and pieces[-1].weight == 1.0:
        text = pieces.pop().text
        letters = "" if text[-1].isspace() else text.split()[-1]
        word = letters + word
        if before := text.removesuffix(letters):
            pieces.append(Piece(before, 1.0))
            break
    return word


def _weight(word: str, at: int) -> float:
    """The number of "1.3", "++" or "--", which stands at `at`."""
    if _STEPS.fullmatch(word):
        if word != word[0] * len(word):
            raise Unreadable(f"the weight at character {at + 1} mixes + and -")
        number = (PLUS if word[0] == "+" else MINUS) ** min(len(word), 100)
    else:
        try:
            number = float(word)
        except ValueError:
            raise Unreadable(f"the weight at character {at + 1} is no number") from None
    if not LEAST <= number <= MOST:
        raise Unreadable(f"the weight at character {at + 1} must be {LEAST:g} to {MOST:g}, got {number:g}")
    return number


def _merged(pieces: list[Piece]) -> tuple[Piece, ...]:
    merged: list[Piece] = []
    for piece in pieces:
        # Blanks count nothing by themselves: they belong to what they follow.
        if merged and (merged[-1].weight == piece.weight or not piece.text.strip()):
            merged[-1] = Piece(merged[-1].text + piece.text, merged[-1].weight)
        elif piece.text.strip():
            merged.append(piece)
    for piece in merged:
        if not LEAST <= piece.weight <= MOST:
            raise Unreadable(f"the weights of nested groups make {piece.weight:g}, which must be {LEAST:g} to {MOST:g}")
    if len(merged) > MOST_PIECES:
        raise Unreadable(f"must have at most {MOST_PIECES} pieces of different weights in a row, got {len(merged)}")
    return tuple(merged)
