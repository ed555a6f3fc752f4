"""The specification's JSON, both ways: original field names and bare lower-case enum words.

    to_spec_json(callback)            '{"job_id": "...", "status": "completed", ...}'
    from_spec_json(SdxlJob, text)     an SdxlJob; anything unknown is refused by name

Everything is derived from the descriptors. What is refused, and with which path, the error says:
`config.stepz: unknown field; known: num_images, steps, ...`.
"""

import json
from typing import Any, NoReturn, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.contracts.validation import enum_word, number_bounds

INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
M = TypeVar("M", bound=Message)
FLOATS = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}


def to_spec_dict(message: Message) -> dict[str, Any]:
    """The message as the JSON object of the specification, with every field that is set."""
    plain = json_format.MessageToDict(message, preserving_proto_field_name=True)
    spec: dict[str, Any] = _outward(plain, cast(Descriptor, message.DESCRIPTOR))
    return spec


def to_spec_json(message: Message, indent: int | None = None) -> str:
    """The message as JSON text of the specification."""
    return json.dumps(to_spec_dict(message), ensure_ascii=False, indent=indent)


def from_spec_json(cls: type[M], text: str | bytes) -> M:
    """Parses JSON text of the specification. Raises InvalidRequest naming the path of what is wrong."""
    try:
        plain = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_doubles)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(Violation("", f"not valid JSON: {error}")) from None
    return from_spec_dict(cls, plain)


def from_spec_dict(cls: type[M], plain: Any) -> M:
    """Parses a JSON object of the specification. Raises InvalidRequest naming the path of what is wrong."""
    inward = _message(plain, cast(Descriptor, cls.DESCRIPTOR), "")
    try:
        return json_format.ParseDict(inward, cls())
    except json_format.ParseError as error:
        # Only well-known types (a timestamp, a duration) are still unchecked here.
        raise InvalidRequest(Violation("", str(error))) from None


def _outward(plain: Any, message: Descriptor) -> Any:
    if message.full_name.startswith("google.protobuf."):
        return plain
    return {name: _outward_value(value, message.fields_by_name[name]) for name, value in plain.items()}


def _outward_value(value: Any, field: FieldDescriptor) -> Any:
    if isinstance(value, list):
        return [_outward_value(item, field) for item in value]
    if field.message_type:
        return _outward(value, field.message_type)
    if field.enum_type:
        return enum_word(field.enum_type.name, value) if isinstance(value, str) else value
    # The proto3 JSON form writes 64-bit integers as text; the specification has plain numbers.
    return int(value) if field.cpp_type in INTEGERS else value


def _message(plain: Any, message: Descriptor, path: str) -> Any:
    if message.full_name.startswith("google.protobuf."):
        return plain
    if not isinstance(plain, dict):
        _refuse(path, f"must be an object, got {_kind(plain)}")
    for name in plain:
        if name not in message.fields_by_name:
            _refuse(f"{path}{name}", f"unknown field; known: {', '.join(message.fields_by_name)}")
    return {
        name: _field(value, message.fields_by_name[name], f"{path}{name}")
        for name, value in plain.items()
        if value is not None  # null means absent, as everywhere in JSON for protobuf
    }


def _field(value: Any, field: FieldDescriptor, path: str) -> Any:
    if not field.is_repeated:
        return _single(value, field, path)
    if not isinstance(value, list):
        _refuse(path, f"must be a list, got {_kind(value)}")
    return [_single(item, field, f"{path}[{index}]") for index, item in enumerate(value)]


def _single(value: Any, field: FieldDescriptor, path: str) -> Any:
    if field.message_type:
        return _message(value, field.message_type, f"{path}.")
    if field.enum_type:
        return _enum(value, field.enum_type, path)
    if field.cpp_type in INTEGERS:
        return _integer(value, field, path)
    if field.cpp_type in FLOATS:
        return value if _is_number(value) else _refuse(path, f"must be a number, got {_kind(value)}")
    expected = bool if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else str
    if not isinstance(value, expected):
        _refuse(path, f"must be {'true or false' if expected is bool else 'text'}, got {_kind(value)}")
    return _text(value, path) if isinstance(value, str) else value


def _enum(value: Any, enum: EnumDescriptor, path: str) -> str:
    words = {enum_word(enum.name, known.name): known.name for known in enum.values if known.number != 0}
    if not isinstance(value, str) or value not in words:
        shown = repr(value[:40]) if isinstance(value, str) else _kind(value)
        _refuse(path, f"unknown word {shown}; known: {', '.join(words)}")
    return words[value]


def _integer(value: Any, field: FieldDescriptor, path: str) -> int:
    if not _is_number(value) or value != value // 1:
        _refuse(path, f"must be a whole number, got {value if _is_number(value) else _kind(value)}")
    least, most = INTEGERS[field.cpp_type]
    if not least <= value <= most:
        # What the rule allows is said, not what the kind of number could carry.
        low, high = number_bounds(field)
        allowed = f"{least if low is None else int(low)} to {most if high is None else int(high)}"
        _refuse(path, f"must be {allowed}, got {value}")
    return int(value)


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse(path, "is not valid Unicode: it has half of a surrogate pair")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    words = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return words.get(type(value), "a number")


def _refuse(path: str, description: str) -> NoReturn:
    raise InvalidRequest(Violation(path.removesuffix("."), description))


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if not name.isprintable():
            raise ValueError(f"{name[:40]!r} is no field name")
        if names.count(name) > 1:
            raise ValueError(f"the field {name[:40]!r} is given twice")
    return dict(pairs)
