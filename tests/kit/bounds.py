"""Values on both sides of the bounds of a contract, as its rules say them, and how to put one into a message."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import Message

from atelier.contracts.validation import ValidationConfig


def put(message: Any, path: str, value: Any) -> None:
    """Sets the field at a path; a list in place of what was there."""
    *parents, field = path.split(".")
    for parent in parents:
        message = getattr(message, parent)
    if isinstance(value, list):
        del getattr(message, field)[:]
        getattr(message, field).extend(value)
    elif isinstance(value, Message):
        getattr(message, field).CopyFrom(value)
    else:
        setattr(message, field, value)


def edges(rule: ValidationConfig) -> Iterator[tuple[str, Any]]:
    """Values just inside and just outside what a rule allows, as ("inside" or "outside", value)."""
    if rule.type == "enum":
        yield from (("inside", number + 1) for number in range(len(rule.choices)))
        yield from (("outside", number) for number in (len(rule.choices) + 1, 99, *([0] if rule.required else [])))
    elif rule.type == "double":
        yield from _number_edges(rule, lambda bound, way: math.nextafter(bound, way * math.inf))
        yield from (("outside", bad) for bad in (math.nan, math.inf, -math.inf))
    elif rule.type == "uint32":
        yield from _number_edges(rule, lambda bound, way: int(bound) + way)
    elif rule.type == "string" and rule.maximum is not None:
        most = int(rule.maximum)
        longest = "1111x1111" if rule.field.endswith("resolution") else "1" * most
        assert len(longest) == most
        yield from [("inside", longest), ("outside", longest + "1")]
        if rule.minimum:
            yield from [("inside", "1" * int(rule.minimum)), ("outside", "1" * (int(rule.minimum) - 1))]


def _number_edges(rule: ValidationConfig, beyond: Callable[[float, int], float]) -> Iterator[tuple[str, Any]]:
    whole = int if rule.type == "uint32" else float
    if rule.choices:
        allowed = {int(choice) for choice in rule.choices}
        yield from (("inside", choice) for choice in allowed)
        yield from (("outside", near) for choice in allowed for near in (choice - 1, choice + 1) if near not in allowed)
    if rule.minimum is not None:
        yield "inside", whole(rule.minimum)
        if rule.minimum > 0 or rule.type == "double":
            yield "outside", beyond(rule.minimum, -1)
    if rule.maximum is not None:
        yield from [("inside", whole(rule.maximum)), ("outside", beyond(rule.maximum, 1))]
