"""The rules of the contracts, read from their descriptors: bounds, choices, patterns, and the specification's words.

The rules stand in the protos and nowhere else. `rules` lists them, so that a frontend can draw its forms with the
bounds that the services enforce; the services check messages with `shared/validation.py`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from atelier.pb.buf.validate import validate_pb2

TYPE_WORDS = {
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_BYTES: "bytes",
}


@dataclass(frozen=True)
class ValidationConfig:
    """The rule of one field: bounds are inclusive; for text they count characters, for lists items."""

    field: str
    type: str
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""


def rules(message: Descriptor, prefix: str = "") -> Iterator[ValidationConfig]:
    """Yields the rule of every field of a message, those of nested messages by their path."""
    for field in message.fields:
        path = f"{prefix}{field.name}"
        if field.type == FieldDescriptor.TYPE_MESSAGE and not field.is_repeated:
            yield from rules(cast(Descriptor, field.message_type), f"{path}.")
        else:
            yield _rule(field, path)


def number_bounds(field: FieldDescriptor) -> tuple[float | None, float | None]:
    """The least and the most that the rule of a single number allows; None where it has none."""
    if field.is_repeated:
        return None, None
    rule = _rule(field, field.name)
    return rule.minimum, rule.maximum


def _rule(field: FieldDescriptor, path: str) -> ValidationConfig:
    found: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]  # type: ignore[index]
    if field.is_repeated:
        return ValidationConfig(path, "list", found.required, _bound(found.repeated, "min_items"),
                                _bound(found.repeated, "max_items"))  # fmt: skip
    if field.type == FieldDescriptor.TYPE_ENUM:
        required = 0 in found.enum.not_in and not field.has_presence
        return ValidationConfig(path, "enum", required, choices=enum_words(cast(EnumDescriptor, field.enum_type)))
    if field.type == FieldDescriptor.TYPE_STRING:
        fewest, most = _bound(found.string, "min_len"), _bound(found.string, "max_len")
        return ValidationConfig(path, "string", bool(fewest), fewest, most, pattern=found.string.pattern)
    return _number_rule(path, found, TYPE_WORDS.get(field.type, "message"))


def enum_words(enum: EnumDescriptor) -> tuple[str, ...]:
    """The words of an enum, in order, without that of 0."""
    return tuple(enum_word(enum.name, value.name) for value in enum.values if value.number != 0)


def _number_rule(path: str, found: validate_pb2.FieldRules, type_word: str) -> ValidationConfig:
    kind = found.WhichOneof("type")
    if kind is None:
        return ValidationConfig(path, type_word, found.required)
    bounds = getattr(found, kind)
    choices = tuple(str(choice) for choice in getattr(bounds, "in", ()))
    return ValidationConfig(path, type_word, found.required, _bound(bounds, "gte"), _bound(bounds, "lte"), choices)


def _bound(bounds: Message, name: str) -> float | None:
    return float(getattr(bounds, name)) if bounds.HasField(name) else None


def enum_word(enum: str, value: str) -> str:
    """The specification's bare lower-case word of an enum value: ("JobStatus", "JOB_STATUS_FAILED") -> "failed"."""
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum).upper() + "_"
    return value.removeprefix(prefix).lower()
