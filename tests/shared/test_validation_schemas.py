"""Every bound of the contracts, just inside and just outside, read from the rules; and the specification's by hand."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from shared.errors import InvalidRequest
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2
from shared.spec_json import from_spec_dict
from shared.validation_schemas import ValidationConfig, check, enum_word, rules

EXAMPLES = Path(__file__).parent / "spec_examples"
SAMPLING = {
    "sdxl_job": {"scheduler": "euler", "clip_skip": 0, "seeds": [0, 1, 2]},
    "wan_job": {"steps": 25, "guidance_scale": 6.5, "flow_shift": 5.0, "seed": 0, "negative_prompt": ""},
}
CLASSES: dict[str, type[Message]] = {
    "sdxl_job": sdxl_pb2.SdxlJob,
    "wan_job": wan_pb2.WanJob,
    "chat_request": chat_pb2.ChatRequest,
}


def valid(name: str) -> Message:
    plain = json.loads((EXAMPLES / f"{name}.json").read_text())
    if name in SAMPLING:
        plain["sampling"] = SAMPLING[name]
    if name == "wan_job":
        plain["config"]["frames"] = 1  # what every type allows
    return from_spec_dict(CLASSES[name], plain)


def put(message: Any, path: str, value: Any) -> None:
    *parents, field = path.split(".")
    for parent in parents:
        message = getattr(message, parent)
    if isinstance(value, list):
        del getattr(message, field)[:]
        getattr(message, field).extend(value)
    else:
        setattr(message, field, value)


def broken_fields(message: Message) -> set[str]:
    try:
        check(message)
    except InvalidRequest as refused:
        return {violation.field for violation in refused.violations}
    return set()


def edges(rule: ValidationConfig) -> Iterator[tuple[str, Any]]:
    """Values just inside and just outside what a rule allows, as ("inside" or "outside", value)."""
    if rule.type == "enum":
        yield from (("inside", number + 1) for number in range(len(rule.choices)))
        yield from [("outside", 99), *([("outside", 0)] if rule.required else [])]
    elif rule.type == "double":
        yield from number_edges(rule, lambda bound, way: math.nextafter(bound, way * math.inf))
        yield from (("outside", bad) for bad in (math.nan, math.inf, -math.inf))
    elif rule.type == "uint32":
        yield from number_edges(rule, lambda bound, way: int(bound) + way)
    elif rule.type == "string" and rule.maximum is not None:
        fill = "0x" if rule.field.endswith("resolution") else ""
        most = int(rule.maximum)
        yield from [("inside", "1" * (most - len(fill)) + fill[::-1]), ("outside", "1" * (most + 1 - len(fill)) + fill)]
        if rule.minimum:
            yield from [("inside", "1" * int(rule.minimum)), ("outside", "1" * (int(rule.minimum) - 1))]


def number_edges(rule: ValidationConfig, beyond: Any) -> Iterator[tuple[str, Any]]:
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


CASES = [
    pytest.param(name, rule.field, side, value, id=f"{name}.{rule.field}-{side}-{str(value)[:12]}")
    for name, cls in CLASSES.items()
    for rule in rules(cls.DESCRIPTOR)
    for side, value in edges(rule)
]


def test_the_rules_yield_edges_for_every_bounded_field() -> None:
    bounded = {
        (name, rule.field)
        for name, cls in CLASSES.items()
        for rule in rules(cls.DESCRIPTOR)
        if rule.type != "list" and (rule.minimum is not None or rule.maximum is not None or rule.choices)
    }
    assert {(case.values[0], case.values[1]) for case in CASES} == bounded


@pytest.mark.parametrize(("name", "field", "side", "value"), CASES)
def test_a_bound_holds_on_both_sides(name: str, field: str, side: str, value: Any) -> None:
    message = valid(name)
    put(message, field, value)
    assert broken_fields(message) == ({field} if side == "outside" else set())


@pytest.mark.parametrize(
    ("name", "field", "inside", "outside"),
    [
        ("sdxl_job", "config.num_images", [1, 3, 6], [0, 2, 4, 5, 7]),
        ("sdxl_job", "config.steps", [10, 50], [0, 9, 51]),
        ("sdxl_job", "config.guidance_scale", [1.0, 20.0], [0.0, 0.999, 20.001, math.nan, math.inf]),
        ("sdxl_job", "config.resolution", ["1024x1024", "8x8"], ["", "1024", "1024X1024", "x", "axb", "1x1\n", " 8x8"]),
        ("sdxl_job", "config.seed", [0, 2147483647], [2147483648, 4294967295]),
        ("sdxl_job", "prompt", ["x", "x" * 1000, "界" * 1000], ["", "x" * 1001]),
        ("sdxl_job", "metadata.reference_strength", [0.0, 1.0], [-0.001, 1.001, math.nan]),
        ("wan_job", "config.frames", [1, 83], [0, 84]),
        ("wan_job", "config.fps", [8, 24], [0, 7, 25]),
        ("wan_job", "prompt", ["x", "x" * 1000], ["", "x" * 1001]),
        ("wan_job", "metadata.reference_strength", [0.0, 1.0], [-0.001, 1.001, math.inf]),
        ("chat_request", "max_tokens", [100, 2048], [0, 99, 2049]),
        ("chat_request", "temperature", [0.0, 2.0], [-0.001, 2.001, math.nan, -math.inf]),
        ("chat_request", "top_p", [0.0, 1.0], [-0.001, 1.001, math.nan]),
    ],
)
def test_the_ranges_are_those_of_the_specification(name: str, field: str, inside: list, outside: list) -> None:
    message = valid(name)
    for value in inside:
        put(message, field, value)
        assert broken_fields(message) == set(), value
    for value in outside:
        put(message, field, value)
        assert broken_fields(message) == {field}, value


REQUIRED = {
    sdxl_pb2.GenerateRequest: [
        "job.id", "job.user_id", "job.type", "job.prompt", "job.config.num_images", "job.config.steps",
        "job.config.guidance_scale", "job.config.resolution", "job.config.negative_prompt",
        "job.sampling.scheduler", "job.sampling.clip_skip", "job.sampling.seeds", "job",
    ],
    wan_pb2.GenerateRequest: [
        "job.id", "job.user_id", "job.type", "job.prompt", "job.config.width", "job.config.height",
        "job.config.frames", "job.config.fps", "job.config.reference_mode", "job.sampling.steps",
        "job.sampling.guidance_scale", "job.sampling.flow_shift", "job.sampling.seed", "job.sampling.negative_prompt",
        "job",
    ],
    chat_pb2.GenerateRequest: [
        "job_id", "user_id", "request.messages", "request.max_tokens", "request.temperature", "request.top_p",
        "request.model", "request",
    ],
}  # fmt: skip


def complete(cls: Any) -> Any:
    """A request that a worker takes."""
    if cls is chat_pb2.GenerateRequest:
        return cls(job_id="chat_1", user_id="user123", request=valid("chat_request"))
    return cls(job=valid("sdxl_job" if cls is sdxl_pb2.GenerateRequest else "wan_job"))


@pytest.mark.parametrize("cls", REQUIRED)
def test_a_complete_request_is_taken_by_a_worker(cls: Any) -> None:
    assert broken_fields(complete(cls)) == set()


@pytest.mark.parametrize(("cls", "path"), [(cls, path) for cls, paths in REQUIRED.items() for path in paths])
def test_a_worker_refuses_a_request_that_leaves_something_out(cls: Any, path: str) -> None:
    request = complete(cls)
    *parents, field = path.split(".")
    inner = request
    for parent in parents:
        inner = getattr(inner, parent)
    inner.ClearField(field)
    [broken] = broken_fields(request)
    assert path.startswith(broken)


def test_a_worker_wants_one_seed_for_each_image() -> None:
    request = complete(sdxl_pb2.GenerateRequest)
    request.job.sampling.seeds.append(4)
    assert broken_fields(request) == {"job.sampling"}


@pytest.mark.parametrize(
    ("seeds", "field"),
    [([0] * 7, "sampling.seeds"), ([0, 2147483648], "sampling.seeds[1]"), ([2147483647] * 6, None)],
)
def test_seeds_are_bounded_in_number_and_size(seeds: list[int], field: str | None) -> None:
    message = valid("sdxl_job")
    put(message, "sampling.seeds", seeds)
    assert broken_fields(message) == ({field} if field else set())


@pytest.mark.parametrize("word", ["image_fast", "image_high", "image7b_fast_enhanced", "image7b_high_enhanced"])
def test_a_still_has_one_frame(word: str) -> None:
    message: Any = valid("wan_job")
    message.type = wan_pb2.WanJobType.Value(f"WAN_JOB_TYPE_{word.upper()}")
    assert broken_fields(message) == set()
    message.config.frames = 2
    assert broken_fields(message) == {"config.frames"}


def test_messages_of_a_conversation_are_checked_one_by_one() -> None:
    message: Any = valid("chat_request")
    message.messages.add(role=99, content="")
    assert broken_fields(message) == {"messages[2].role", "messages[2].content"}


@pytest.mark.parametrize(("count", "field"), [(0, "messages"), (257, "messages")])
def test_a_conversation_is_bounded(count: int, field: str) -> None:
    message: Any = valid("chat_request")
    put(message, "messages", [chat_pb2.ChatMessage(role=2, content="x")] * count)
    assert broken_fields(message) == {field}


def test_a_violation_names_the_bound_and_the_value() -> None:
    message = valid("sdxl_job")
    put(message, "config.steps", 7)
    with pytest.raises(InvalidRequest, match=r"config\.steps: must be .*10.*50, got 7"):
        check(message)


def test_a_violation_repeats_no_long_text() -> None:
    message = valid("sdxl_job")
    put(message, "prompt", "secret " * 1000)
    with pytest.raises(InvalidRequest) as raised:
        check(message)
    assert "secret" not in raised.value.message
    assert "1000" in raised.value.message
    assert "got 7000 characters" in raised.value.message


@pytest.mark.parametrize(
    ("enum", "value", "word"),
    [
        ("JobStatus", "JOB_STATUS_FAILED", "failed"),
        ("SdxlJobType", "SDXL_JOB_TYPE_SDXL_IMAGE_HIGH", "sdxl_image_high"),
        ("WanJobType", "WAN_JOB_TYPE_IMAGE7B_FAST_ENHANCED", "image7b_fast_enhanced"),
    ],
)
def test_an_enum_value_has_the_bare_word_of_the_specification(enum: str, value: str, word: str) -> None:
    assert enum_word(enum, value) == word
