"""What every schema of a policy has in common, and pydantic's findings in words for people."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from edge_service.policy.mistakes import Steps

REFUSED = "refused"
SHOULD = re.compile(r"^\w+ should")
MAX_SHOWN = 40
# What pydantic calls a step of its own, such as the key itself instead of what it stands for.
KEY = "[key]"


class Strict(BaseModel):
    """The schema of a part of a policy: nothing unknown is taken, nothing changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def refused(problems: Iterable[tuple[Steps, str]]) -> ValidationError:
    """What a validator raises to refuse several things at once, each at its own place below that of the validator."""
    lines = [
        InitErrorDetails(type=PydanticCustomError(REFUSED, "{problem}", {"problem": problem}), loc=steps, input=None)
        for steps, problem in problems
    ]
    return ValidationError.from_exception_data("policy", lines)


def findings(model: type[Strict], error: ValidationError) -> Iterator[tuple[Steps, str]]:
    """Each thing that pydantic found, with the way to it."""
    for found in error.errors(include_url=False):
        steps = tuple(step for step in found["loc"] if step != KEY)
        yield steps, _words(model, found)


def _words(model: type[Strict], found: ErrorDetails) -> str:
    match found["type"]:
        case "extra_forbidden":
            return f"unknown key; known: {', '.join(_at(model, found['loc'][:-1]).model_fields)}"
        case "missing":
            return "is missing"
        case "model_type" | "dict_type":
            return f"must be a mapping{_given(found['input'])}"
        case "refused":
            return found["msg"]
    message = SHOULD.sub("must", found["msg"].removeprefix("Value error, "))
    return message + ("" if found["type"] == "value_error" else _given(found["input"]))


def _given(value: object) -> str:
    if value is None:
        return ", got nothing"
    if isinstance(value, str):
        return f", got {value!r}" if len(value) <= MAX_SHOWN else f", got {len(value)} characters"
    return f", got {value}" if isinstance(value, bool | int | float) else ""


def _at(model: type[Strict], steps: Steps) -> type[Strict]:
    """The schema of the mapping that these steps lead to."""
    for step in steps:
        if step in model.model_fields:
            model = _schema_in(model.model_fields[str(step)].annotation) or model
    return model


def _schema_in(annotation: Any) -> type[Strict] | None:
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return annotation
    return next(filter(None, map(_schema_in, get_args(annotation))), None)
