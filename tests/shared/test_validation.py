"""Every bound of the contracts, just inside and just outside, read from the rules; and the specification's by hand."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import protovalidate
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from atelier.contracts.errors import InvalidRequest
from atelier.contracts.json_form import from_spec_dict
from atelier.contracts.validation import rules
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from atelier.pb.worker.v1 import worker_pb2
from shared.validation import check
from tests.kit.bounds import edges, put

EXAMPLES = Path(__file__).parents[1] / "atelier/contracts/spec_examples"
SAMPLING = {
    "sdxl_job": {"scheduler": "euler", "clip_skip": 0, "seeds": [0, 1, 2]},
    "wan_job": {"steps": 25, "guidance_scale": 6.5, "flow_shift": 5.0, "seed": 0, "negative_prompt": ""},
}
PICTURE = {"key": "ann/upload_1/image_0.png", "sha256": "0" * 64, "width": 8, "height": 8}
REFERENCES = {
    "sdxl_job": {"image": PICTURE, "denoise": 0.5},
    "wan_job": {"first": PICTURE, "last": PICTURE},
}
CLASSES: dict[str, type[Message]] = {
    "sdxl_job": sdxl_pb2.SdxlJob,
    "wan_job": wan_pb2.WanJob,
    "chat_request": chat_pb2.ChatRequest,
}


BLANKS = [" ", " " * 1000, "\t\r\n", "\u00a0", "\u3000\u2003", "\u200b", "\ufeff"]


def valid(name: str) -> Message:
    plain = json.loads((EXAMPLES / f"{name}.json").read_text())
    if name in SAMPLING:
        plain["sampling"] = SAMPLING[name]
        plain["references"] = REFERENCES[name]
    if name == "wan_job":
        plain["config"]["frames"] = 1  # what every type allows
    return from_spec_dict(CLASSES[name], plain)


def broken_fields(message: Message) -> set[str]:
    try:
        check(message)
    except InvalidRequest as refused:
        return {violation.field for violation in refused.violations}
    return set()


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
        ("sdxl_job", "config.resolution", ["1024x1024", "64x4096", "4096x64"],
         ["", "1024", "1024X1024", "x", "axb", "64x64\n", " 64x64", "63x64", "64x63", "4097x64", "64x4097", "0x0",
          "99999x64", "100000x64", "64x100000", "99999x99999", "064x64", "64x064", "64x64x64", f"64x{'9' * 30}"]),
        ("sdxl_job", "config.seed", [0, 2147483647], [2147483648, 4294967295]),
        ("sdxl_job", "prompt", ["x", "x" * 1000, "界" * 1000, " x ", "\n.", "\U0001f98a"], ["", "x" * 1001, *BLANKS]),
        ("sdxl_job", "metadata.reference_strength", [0.0, 1.0], [-0.001, 1.001, math.nan]),
        ("wan_job", "config.frames", [1, 83], [0, 84]),
        ("wan_job", "config.fps", [8, 24], [0, 7, 25]),
        ("wan_job", "prompt", ["x", "x" * 1000, " x "], ["", "x" * 1001, *BLANKS]),
        ("wan_job", "metadata.reference_strength", [0.0, 1.0], [-0.001, 1.001, math.inf]),
        ("chat_request", "max_tokens", [100, 2048], [0, 99, 2049]),
        ("chat_request", "temperature", [0.0, 2.0], [-0.001, 2.001, math.nan, -math.inf]),
        ("chat_request", "top_p", [0.0, 1.0], [-0.001, 1.001, math.nan]),
    ],
)  # fmt: skip
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
        "job.references.image", "job.references.denoise",
    ],
    wan_pb2.GenerateRequest: [
        "job.id", "job.user_id", "job.type", "job.prompt", "job.config.width", "job.config.height",
        "job.config.frames", "job.config.fps", "job.config.reference_mode", "job.sampling.steps",
        "job.sampling.guidance_scale", "job.sampling.flow_shift", "job.sampling.seed", "job.sampling.negative_prompt",
        "job", "job.references.first", "job.references.last",
    ],
    chat_pb2.GenerateRequest: [
        "job_id", "user_id", "request.messages", "request.max_tokens", "request.temperature", "request.top_p",
        "request.model", "request",
    ],
}  # fmt: skip


ADDRESSES = {
    sdxl_pb2.GenerateRequest: ["metadata.reference_image_url"],
    wan_pb2.GenerateRequest: [
        "config.image", "config.first_frame", "config.last_frame", "metadata.reference_image_url",
        "metadata.start_reference_url", "metadata.end_reference_url",
    ],
}  # fmt: skip


def complete(cls: Any) -> Any:
    """A request that a worker takes."""
    if cls is chat_pb2.GenerateRequest:
        return cls(job_id="chat_1", user_id="user123", request=valid("chat_request"))
    request = cls(job=valid("sdxl_job" if cls is sdxl_pb2.GenerateRequest else "wan_job"))
    for path in ADDRESSES[cls]:  # by now the pictures are in references
        part, field = path.split(".")
        getattr(request.job, part).ClearField(field)
    return request


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


@pytest.mark.parametrize(("cls", "path"), [(cls, path) for cls, paths in ADDRESSES.items() for path in paths])
@pytest.mark.parametrize("value", ["https://example.com/a.png", "ann/upload_1/image_0.png"])
def test_a_worker_takes_no_address_and_no_word_of_a_client(cls: Any, path: str, value: str) -> None:
    request = complete(cls)
    put(request.job, path, value)
    [broken] = broken_fields(request)
    assert f"job.{path}".startswith(broken)


def test_only_the_edge_names_the_object_that_a_worker_reads() -> None:
    for job, name in ((valid("sdxl_job"), "sdxl"), (valid("wan_job"), "wan")):
        job.id = job.user_id = ""  # type: ignore[attr-defined]
        job.ClearField("sampling")
        request = edge_pb2.SubmitJobRequest(**{name: job})  # type: ignore[arg-type]
        assert broken_fields(request) == {"job.references"}
        getattr(request, name).ClearField("references")
        assert broken_fields(request) == set()


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


def test_a_violation_of_a_size_names_the_bounds_and_the_size() -> None:
    message = valid("sdxl_job")
    put(message, "config.resolution", "0x99999")
    with pytest.raises(InvalidRequest, match=r"^config\.resolution: both sides must be 64 to 4096, .* got '0x99999'$"):
        check(message)


def test_a_violation_repeats_no_long_text() -> None:
    message = valid("sdxl_job")
    put(message, "prompt", "secret " * 1000)
    with pytest.raises(InvalidRequest) as raised:
        check(message)
    assert "secret" not in raised.value.message
    assert "1000" in raised.value.message
    assert "got 7000 characters" in raised.value.message


REQUESTS: dict[str, Descriptor] = {
    method.input_type.full_name: method.input_type
    for file in (chat_pb2, edge_pb2, sdxl_pb2, wan_pb2, worker_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
MAX_BYTES = 4 * 1024 * 1024
# The bytes of tiny items: messages that are empty, broken and sound, and numbers within and beyond any bound.
TINY_MESSAGES = [b"", b"\x08\x63", b"\x08\x02\x12\x01x"]
TINY_NUMBERS = [1, 2**31 - 1]


def lists(message: Descriptor, outer: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldDescriptor]]:
    """Yields the way to every list that a request can hold."""
    for field in message.fields:
        path = (*outer, field.name)
        if field.is_repeated:
            assert field.message_type is None or not list(lists(field.message_type)), "a list in a list: stuff it too"
            yield path, field
        elif field.message_type is not None:
            yield from lists(field.message_type, path)


def stuff(holder: Any, field: FieldDescriptor, item: Any) -> None:
    """Fills a list with as much of one item as fits into a message."""
    if field.message_type is not None:
        entry = bytes([field.number << 3 | 2, len(item)]) + item
        holder.MergeFromString(entry * (MAX_BYTES // len(entry)))
    elif field.type == FieldDescriptor.TYPE_STRING:
        getattr(holder, field.name).extend([""] * (MAX_BYTES // 2))
    else:
        getattr(holder, field.name).extend([item] * (MAX_BYTES // (1 if item < 128 else 5)))


STUFFED = [
    pytest.param(request, path, field, item, id=f"{request}.{'.'.join(path)}-{item!r}")
    for request, descriptor in REQUESTS.items()
    for path, field in lists(descriptor)
    for item in (TINY_MESSAGES if field.message_type is not None else TINY_NUMBERS)
]


def test_every_way_to_send_a_conversation_is_stuffed() -> None:
    assert {(case.values[0], case.values[1]) for case in STUFFED} >= {
        ("atelier.edge.v1.SubmitJobRequest", ("chat", "messages")),
        ("atelier.edge.v1.ChatRequest", ("request", "messages")),
        ("atelier.chat.v1.GenerateRequest", ("request", "messages")),
    }


@pytest.mark.parametrize(("name", "path", "field", "item"), STUFFED)
def test_a_list_of_millions_is_refused_at_once(
    name: str, path: tuple[str, ...], field: FieldDescriptor, item: Any
) -> None:
    request: Any = message_factory.GetMessageClass(REQUESTS[name])()
    holder = request
    for step in path[:-1]:
        holder = getattr(holder, step)
    stuff(holder, field, item)
    started = time.thread_time()
    with pytest.raises(InvalidRequest) as refused:
        check(request)
    assert time.thread_time() - started < 0.5
    [violation] = refused.value.violations
    assert (violation.field, "no more than" in violation.description) == (".".join(path), True)


def test_the_rule_about_all_contents_does_not_read_a_list_that_is_too_long() -> None:
    message = chat_pb2.ChatMessage(role=2, content="long" * 1000)
    found = protovalidate.collect_violations(chat_pb2.ChatRequest(messages=[message] * 257))
    assert [violation.proto.rule_id for violation in found] == ["repeated.max_items"]


def test_a_message_whose_rules_give_up_is_refused_and_its_content_stays_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def give_up(message: Message) -> None:
        raise protovalidate.EvaluationError("sentinel")

    monkeypatch.setattr(protovalidate, "collect_violations", give_up)
    with pytest.raises(InvalidRequest, match="could not be checked") as refused:
        check(valid("chat_request"))
    assert "sentinel" not in refused.value.message + str([vars(record) for record in caplog.records])
    assert "could not be checked" in caplog.text
