"""Remembers what was found in short texts: presets add the same words to most requests, and a prompt is read by the
refusal and by the rules. Pure functions of a text alone may use it; what they found is the same every time.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Concatenate, ParamSpec, TypeVar

V, P = TypeVar("V"), ParamSpec("P")
# The longest prompt there is. What is longer, a conversation, hardly ever comes twice.
MAX_CHARACTERS = 1000
MAX_TEXTS = 128


def remembering(find: Callable[Concatenate[str, P], V]) -> Callable[Concatenate[str, P], V]:
    """The same function, which is not called again for a short text, and the same arguments, that came lately."""
    remembered = lru_cache(maxsize=MAX_TEXTS)(find)

    def found(text: str, *more: P.args, **named: P.kwargs) -> V:
        return remembered(text, *more, **named) if len(text) <= MAX_CHARACTERS else find(text, *more, **named)

    return found
