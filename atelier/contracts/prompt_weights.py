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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

MIN_WEIGHT, MAX_WEIGHT = 0.0, 3.0
MAX_PIECES = 64
"""Of one text. Each piece that counts less than 1 is one more run of both text encoders."""
PLUS, MINUS = 1.1, 0.9

_ESCAPED = re.compile(r"\\([()\\:+\-])")
_PLAIN = re.compile(r"[^\\()+\-:]+")
# A weight stands where a word ends, and nowhere else: "(cute)3d" and "well-known" have none.
_END = r"(?=[\s;:!?()\[\]{}\"'”’—]|[.,](?![0-9])|$)"
_DIGITS = r"(?:[0-9]++(?:\.[0-9]++)?+|\.[0-9]++)"
_NUMBER = re.compile(rf"{_DIGITS}{_END}")
_TWO_WEIGHTS = re.compile(rf"{_DIGITS}[+-]++{_END}")
_WHOLE_NUMBER = re.compile(rf"[+-]?{_DIGITS}")
_STEPS = re.compile(r"[+-]+")
_ENDING_STEPS = re.compile(r"[+-]++(?=[\s,.;:!?()\[\]{}]|$)")
# The end of a group, "1.3)" behind a colon; in place of the number there may be something like one, or nothing.
_INSIDE = re.compile(r":\s*+([+-]?\.?\d[^\s():]*+|[+-]?[0-9.]++)?\s*+\)")
# Compel weighs what stands in quotes; here quotes are text, and must not look like syntax.
_QUOTED = re.compile(rf'"[^"]+"(?=(?:[+-]++|{_DIGITS})(?:[\s,.;:!?()]|$))')
# What compel reads as a call.
_CALL = re.compile(r"\.(and|add|blend|swap|attend)\(", re.IGNORECASE)


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
    """What stands between ( and ): where it began, what it holds, how much that counts."""

    start: int
    parts: "list[Piece | _Group]" = field(default_factory=list)
    weight: float = 1.0


def read(text: str) -> tuple[Piece, ...]:
    """The pieces of a prompt in order, neighbours of the same weight as one. Takes linear time. Raises Unreadable."""
    if found := _QUOTED.search(text):
        says = "is behind a quote; write ( ) around what it is for"
        raise Unreadable(f"the weight at character {found.end() + 1} {says}")
    groups, at = [_Group(0)], 0
    while at < len(text):
        if text[at] == "(":
            groups.append(_Group(at))
            at += 1
        elif text[at] == ")":
            at = _close(text, at, groups)
        elif (inside := _INSIDE.match(text, at)) and len(groups) > 1:
            groups[-1].weight = _inner_weight(inside)
            at = _close(text, inside.end() - 1, groups)
        else:
            at = _words(text, at, groups[-1].parts)
    if len(groups) > 1:
        raise Unreadable(f"the ( at character {groups[-1].start + 1} is never closed; write \\( for the character")
    return _merged(_flat(groups[0]))


def has_weights(text: str) -> bool:
    """Whether a text looks as if its writer wanted weights: "(red:1.3)" or "(red)1.3"."""
    return re.search(r"\([^()]*:\s*[0-9.]+\s*\)|\([^()]+\)[0-9]*\.[0-9]", text) is not None


def _close(text: str, at: int, groups: list[_Group]) -> int:
    """Ends the innermost group at the `)` at `at`; returns where the text goes on."""
    if len(groups) == 1:
        raise Unreadable(f"the ) at character {at + 1} closes nothing; write \\) for the character")
    group, end = groups.pop(), at + 1
    groups[-1].parts.append(group)
    if call := _CALL.match(text, end):
        raise Unreadable(f".{call[1]} at character {end + 1} is not supported, only weights are")
    outer = _NUMBER.match(text, end) or _ENDING_STEPS.match(text, end)
    if outer is None and not _TWO_WEIGHTS.match(text, end):
        return end
    if outer is None or group.weight != 1.0:
        raise Unreadable(f"the group at character {group.start + 1} has two weights")
    group.weight = _weight(outer[0], end)
    return outer.end()


def _inner_weight(inside: re.Match[str]) -> float:
    if inside[1] is None:
        raise Unreadable(
            f"a weight is missing after the : at character {inside.start() + 1}; write \\: for the character"
        )
    return _weight(inside[1], inside.start(1))


def _words(text: str, at: int, parts: list[Piece | _Group]) -> int:
    """Reads text up to the next mark of a group, and the + or - behind a word."""
    if escaped := _ESCAPED.match(text, at):
        parts.append(Piece(escaped[1], 1.0))
        return escaped.end()
    if plain := _PLAIN.match(text, at):
        parts.append(Piece(plain[0], 1.0))
        return plain.end()
    if (steps := _ENDING_STEPS.match(text, at)) and (word := _taken_back(parts)):
        parts.append(Piece(word, _weight(steps[0], at)))
        return steps.end()
    if steps := _STEPS.match(text, at):
        parts.append(Piece(steps[0], 1.0))
        return steps.end()
    parts.append(Piece(text[at], 1.0))  # a lone backslash, or a colon that ends no group
    return at + 1


def _taken_back(parts: list[Piece | _Group]) -> str:
    """Takes the word that the text ends with off the parts; "" if it ends with none."""
    letters: list[str] = []
    while parts and isinstance(last := parts[-1], Piece) and last.weight == 1.0:
        word = "" if last.text[-1].isspace() else last.text.split()[-1]
        letters.append(word)
        parts.pop()
        if before := last.text.removesuffix(word):
            parts.append(Piece(before, 1.0))
            break
    return "".join(reversed(letters))


def _weight(word: str, at: int) -> float:
    """The number of "1.3", "++" or "--", which stands at `at`."""
    if _STEPS.fullmatch(word):
        if word != word[0] * len(word):
            raise Unreadable(f"the weight at character {at + 1} mixes + and -")
        number = (PLUS if word[0] == "+" else MINUS) ** min(len(word), 100)
    else:
        if not _WHOLE_NUMBER.fullmatch(word):
            raise Unreadable(f"the weight at character {at + 1} is no number")
        number = float(word)
    if not MIN_WEIGHT <= number <= MAX_WEIGHT:
        raise Unreadable(f"the weight at character {at + 1} must be {MIN_WEIGHT:g} to {MAX_WEIGHT:g}, got {number:g}")
    return number


def _flat(whole: _Group) -> Iterator[Piece]:
    """The pieces of nested groups in order, each with the product of the weights it stands in."""
    open_groups = [(iter(whole.parts), whole.weight)]
    while open_groups:
        parts, weight = open_groups[-1]
        part = next(parts, None)
        if part is None:
            open_groups.pop()
        elif isinstance(part, _Group):
            open_groups.append((iter(part.parts), weight * part.weight))
        else:
            yield Piece(part.text, weight * part.weight)


def _merged(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    merged: list[tuple[list[str], float]] = []
    for piece in pieces:
        # Blanks count nothing by themselves: they belong to what they follow.
        if merged and (merged[-1][1] == piece.weight or not piece.text.strip()):
            merged[-1][0].append(piece.text)
        elif piece.text.strip():
            merged.append(([piece.text], piece.weight))
    for _, weight in merged:
        if not MIN_WEIGHT <= weight <= MAX_WEIGHT:
            raise Unreadable(
                f"the weights of nested groups make {weight:g}, which must be {MIN_WEIGHT:g} to {MAX_WEIGHT:g}"
            )
    if len(merged) > MAX_PIECES:
        raise Unreadable(f"must have at most {MAX_PIECES} pieces of different weights in a row, got {len(merged)}")
    return tuple(Piece("".join(texts), weight) for texts, weight in merged)
