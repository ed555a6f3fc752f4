"""The rules of the contracts: checking a message against them, and listing them for a client.

The rules stand in the protos and nowhere else. `check` runs them (protovalidate); `rules` reads them from the
descriptors, so that a frontend can draw its forms with the bounds the services enforce.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import protovalidate
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from shared.errors import InvalidRequest, Violation
from shared.pb.buf.validate import validate_pb2

log = logging.getLogger(__name__)

# Longest value an error message repeats: enough to recognise a number or a word, too little to leak a prompt.
MAX_SHOWN = 40
RANGE = re.compile(r"must be greater than or equal to (\S+) and less than or equal to (\S+)")
ONE_OF = re.compile(r"must be in list \[(.+)\]")
NAMED_FIELD = re.compile(r"(?P<field>[a-z_.]+): (?P<rest>.+)")
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


def check(message: Message) -> None:
    """Raises InvalidRequest naming every field that breaks a rule, its bound and the value given."""
    if not message.DESCRIPTOR.fields:
        return
    # Counted first: the library looks at every item of a list that is too long, for minutes if there are millions.
    if overlong := list(_overlong(message)):
        raise InvalidRequest(*overlong)
    try:
        violations = protovalidate.collect_violations(message)
    except Exception as error:
        # A rule gave up on this message, so it is not known to be sound. The error's text may hold content.
        names = {"type": message.DESCRIPTOR.full_name, "error": type(error).__name__}
        log.error("a message could not be checked", extra=names)
        raise InvalidRequest(Violation("", "the message could not be checked against its rules")) from None
    if violations:
        raise InvalidRequest(*(_violation(found) for found in violations))


def _overlong(message: Message, prefix: str = "") -> Iterator[Violation]:
    """Yields a violation for every list that is longer than its rule allows; looks into no such list."""
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        if field.is_repeated:
            most = _most_items(field)
            if most is not None and len(value) > most:
                yield Violation(path, f"must contain no more than {most} items, got {len(value)}")
            elif _is_list_of_messages(field):
                for index, item in enumerate(value):
                    yield from _overlong(item, f"{path}[{index}].")
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            yield from _overlong(value, f"{path}.")


@cache
def _is_list_of_messages(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and not kind.GetOptions().map_entry


@cache
def _most_items(field: FieldDescriptor) -> int | None:
    found: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]  # type: ignore[index]
    return found.repeated.max_items if found.repeated.HasField("max_items") else None


def _violation(found: Any) -> Violation:
    path = ".".join(_element(element) for element in found.proto.field.elements) if found.proto.field else ""
    message = found.proto.message
    if named := NAMED_FIELD.match(message):
        # A rule across fields is found at the message that has it; its text names the field it means.
        path, message = ".".join(filter(None, (path, named["field"]))), named["rest"]
    return Violation(path, _plain(message) + _given(found.field_value))


def _plain(message: str) -> str:
    """The library's sentence in fewer words."""
    return ONE_OF.sub(r"must be one of \1", RANGE.sub(r"must be \1 to \2", message))


def _element(element: Any) -> str:
    return f"{element.field_name}[{element.subscript.value}]" if element.subscript else str(element.field_name)


def _given(value: object) -> str:
    if isinstance(value, str):
        return f", got {len(value)} characters" if len(value) > MAX_SHOWN else f", got {value!r}"
    return f", got {value}" if isinstance(value, int | float) else ""


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
