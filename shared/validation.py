"""Checks messages against the rules of the contracts, which stand in the protos (protovalidate runs them)."""

import logging
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.pb.buf.validate import validate_pb2

log = logging.getLogger(__name__)

# Longest value an error message repeats: enough to recognise a number or a word, too little to leak a prompt.
MAX_SHOWN = 40
RANGE = re.compile(r"must be greater than or equal to (\S+) and less than or equal to (\S+)")
ONE_OF = re.compile(r"must be in list \[(.+)\]")
NAMED_FIELD = re.compile(r"(?P<field>[a-z_.]+): (?P<rest>.+)")


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
