"""Every bound of every request, just inside and just outside, in numbers of our own; and no rule is forgotten."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from atelier.contracts.errors import InvalidRequest
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.buf.validate import validate_pb2
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from atelier.pb.worker.v1 import worker_pb2
from shared.validation import check
from tests.kit.bounds import put


@dataclass(frozen=True)
class Bound:
    """The rules of a field, and values on both sides of them."""

    rules: set[str]
    inside: list[Any]
    outside: list[Any]
    characters: str = ""
    """Those that are tried where a pattern says which are allowed."""


def text(least: int, most: int, allowed: str = "界", refused: str = "", not_first: str = "") -> Bound:
    """Texts of these lengths; where there is a pattern, of what it allows at its ends and what is next to that."""

    def of(length: int) -> str:
        return (allowed * length)[:length]

    first = allowed[0]
    inside = [of(least), of(most), *(first + one for one in allowed)]
    outside = [of(most + 1), *([of(least - 1)] if least else [])]
    if refused:
        inside += [one + first for one in allowed if one not in not_first]
        outside += [first + one for one in f"{refused}\né"] + [one + first for one in f"{refused}{not_first}\né"]
    rules = {"string.max_len", *(["string.min_len"] if least else []), *(["string.pattern"] if refused else [])}
    return Bound(rules, inside, outside, allowed + refused if refused else "")


def whole(kind: str, least: int, most: int, ends: Iterable[str] = ("gte", "lte")) -> Bound:
    """Whole numbers. An end that the type itself has is no rule."""
    beyond = {"gte": least - 1, "lte": most + 1}
    return Bound({f"{kind}.{end}" for end in ends}, [least, most], [beyond[end] for end in ends])


def count(least: int, most: int) -> Bound:
    return whole("uint32", least, most, ["gte", "lte"] if least else ["lte"])


def real(least: float, most: float) -> Bound:
    beyond = [math.nextafter(least, -math.inf), math.nextafter(most, math.inf), math.nan, math.inf, -math.inf]
    return Bound({"double.gte", "double.lte", "double.finite"}, [least, most], beyond)


def duration(least: int, most: int) -> Bound:
    beyond = [Duration(seconds=least - 1, nanos=999_999_999), Duration(seconds=most, nanos=1), Duration(seconds=-least)]
    return Bound({"duration.gte", "duration.lte"}, [Duration(seconds=least), Duration(seconds=most)], beyond)


def choice(last: int, *, zero: bool = True) -> Bound:
    """The numbers of an enum up to the last; without 0 where one of them has to be said."""
    first = 0 if zero else 1
    rules = {"enum.defined_only", *([] if zero else ["enum.not_in"])}
    return Bound(rules, [*range(first, last + 1)], [-1, last + 1, *range(first)])


def items(least: int, most: int, each: Bound) -> Bound:
    """A list of so many, and what each of them may be."""
    one = each.inside[-1]
    outside = [[one] * (most + 1), *([[one] * (least - 1)] if least else []), *([value] for value in each.outside)]
    rules = {"repeated.max_items", *(["repeated.min_items"] if least else [])}
    inside = [[one] * least, [one] * most, *([value] for value in each.inside)]
    return Bound(rules | {f"repeated.items.{rule}" for rule in each.rules}, inside, outside, each.characters)


WORD = ("az09_", "/:^`{A")
USER = ("AZaz09._@-", ",/:?[^`{", "._@-")
KEY = ("AZaz09._@-/", ",:?[^`{")
NAME = text(0, 64, *WORD)
JOB_ID = text(1, 128, *WORD)
OWN_ID = text(0, 128, "az09_", "/:^`{A", "_")
USER_ID = text(0, 128, *USER)
ASSET = text(1, 512, *KEY)
IDEMPOTENCY_KEY = text(0, 128, "!~", " \x7f")
PAGE_SIZE, PAGE_TOKEN = count(1, 100), text(0, 256)
WORKER_ID, MODEL = text(1, 128), text(1, 100)
ADDRESS, NEGATIVE = text(0, 2048), text(0, 1000)
PROMPT = text(1, 1000)
PROMPT = Bound(PROMPT.rules | {"cel"}, [*PROMPT.inside, " x "], [*PROMPT.outside, " ", "\u3000" * 1000])
SEED, STRENGTH, GUIDANCE = count(0, 2147483647), real(0, 1), real(1, 20)
SCOPE = text(1, 32, "az.", "-/`{A")
SIDE = Bound({"uint32.gte"}, [1, 2**32 - 1], [0])
DIGEST = Bound(
    {"string.pattern"},
    ["0" * 64, "9af0" * 16],
    ["", "0" * 63, "0" * 65, *("0" * 63 + one for one in "/:`gA")],
)
WEB = "https://a.example/"
URL = Bound(
    {"string.min_len", "string.max_len", "string.uri"},
    [WEB, WEB.ljust(2048, "x"), "a:"],
    ["", WEB.ljust(2049, "x"), "a.example", "//a.example/", "https://a b/"],
)
RESOLUTION = Bound(
    {"string.max_len", "string.pattern", "cel"},
    ["64x64", "4096x4096", "99x99"],
    ["63x64", "64x63", "4097x64", "64x4097", "10000x64", "100000x64", "64x100000", "1000000x1", f"64x{'9' * 30}",
     "064x64", "64x064", "0000064x8", "64", "64x", "x64", "64X64", "64x64x", "64x64x64", "64x64\n", "a64x64", "/4x64",
     ":4x64", "64x/4", "64x:4"],
)  # fmt: skip

BOUNDS: dict[type[Message], dict[str, Bound]] = {
    edge_pb2.SubmitJobRequest: {
        "preset": NAME,
        "enhancement": choice(2),
        "content_mode": choice(2),
        "idempotency_key": IDEMPOTENCY_KEY,
        "deadline": duration(1, 24 * 60 * 60),
        "priority": whole("int32", -10, 10),
        "aspect_ratio": text(0, 16, "09:", "/;"),
        "quality": NAME,
        "style": NAME,
        "reference_use": choice(2),
    },
    edge_pb2.Webhook: {"url": URL},
    edge_pb2.GetJobRequest: {"job_id": JOB_ID},
    edge_pb2.ListJobsRequest: {
        "page_size": PAGE_SIZE,
        "page_token": PAGE_TOKEN,
        "statuses": items(0, 10, choice(7, zero=False)),
    },
    edge_pb2.WatchJobRequest: {"job_id": JOB_ID, "after_sequence": whole("uint64", 0, 2**63 - 1, ["lte"])},
    edge_pb2.CancelJobRequest: {"job_id": JOB_ID},
    edge_pb2.RetryJobRequest: {"job_id": JOB_ID, "idempotency_key": IDEMPOTENCY_KEY},
    edge_pb2.ChatRequest: {"content_mode": choice(2), "context": NAME},
    edge_pb2.GetAssetRequest: {"key": ASSET},
    edge_pb2.ListAssetsRequest: {"page_size": PAGE_SIZE, "page_token": PAGE_TOKEN},
    edge_pb2.DownloadAssetRequest: {"key": ASSET},
    edge_pb2.CreateUploadRequest: {
        "mime_type": text(1, 100),
        "bytes": whole("uint64", 1, 32 * 2**20),
        "sha256": text(1, 64, "09af", "/:`gA"),
    },
    edge_pb2.DeleteAssetRequest: {"key": ASSET},
    edge_pb2.CreateKeyRequest: {
        "name": text(1, 100),
        "scopes": items(0, 16, replace(SCOPE, rules=SCOPE.rules - {"string.min_len"})),  # the pattern wants one
        "lifetime": duration(60, 3650 * 24 * 60 * 60),
        "user_id": USER_ID,
        "tier": NAME,
    },
    edge_pb2.ListKeysRequest: {"user_id": USER_ID},
    edge_pb2.RevokeKeyRequest: {"key_id": text(1, 64, *WORD)},
    edge_pb2.LoadModelRequest: {"worker_id": WORKER_ID, "name": MODEL},
    edge_pb2.UnloadModelRequest: {"worker_id": WORKER_ID, "name": MODEL},
    edge_pb2.DrainWorkerRequest: {"worker_id": WORKER_ID},
    # What they hold, and workers get as well.
    sdxl_pb2.SdxlJob: {
        "id": OWN_ID,
        "type": choice(2, zero=False),
        "prompt": PROMPT,
        "user_id": USER_ID,
        "compel_weights": text(0, 1000),
        "enhancement_source": choice(3),
    },
    sdxl_pb2.SdxlConfig: {
        "num_images": Bound({"uint32.in"}, [1, 3, 6], [0, 2, 4, 5, 7]),
        "steps": count(10, 50),
        "guidance_scale": GUIDANCE,
        "resolution": RESOLUTION,
        "seed": SEED,
        "negative_prompt": NEGATIVE,
    },
    sdxl_pb2.SdxlMetadata: {
        "reference_image_url": ADDRESS,
        "reference_strength": STRENGTH,
        "reference_type": choice(3),
    },
    sdxl_pb2.SdxlSampling: {
        "scheduler": choice(5, zero=False),
        "clip_skip": count(0, 4),
        "seeds": items(0, 6, SEED),
    },
    sdxl_pb2.SdxlReferences: {"denoise": STRENGTH},
    wan_pb2.WanJob: {
        "id": OWN_ID,
        "type": choice(8, zero=False),
        "prompt": PROMPT,
        "user_id": USER_ID,
        "enhancement_source": choice(3),
    },
    wan_pb2.WanConfig: {
        "width": count(16, 4096),
        "height": count(16, 4096),
        "frames": count(1, 83),
        "fps": count(8, 24),
        "reference_mode": choice(5),
        "image": ADDRESS,
        "first_frame": ADDRESS,
        "last_frame": ADDRESS,
    },
    wan_pb2.WanMetadata: {
        "reference_image_url": ADDRESS,
        "start_reference_url": ADDRESS,
        "end_reference_url": ADDRESS,
        "reference_strength": STRENGTH,
    },
    wan_pb2.WanSampling: {
        "steps": count(1, 100),
        "guidance_scale": GUIDANCE,
        "flow_shift": real(0.1, 20),
        "seed": SEED,
        "negative_prompt": NEGATIVE,
    },
    job_pb2.Reference: {
        "key": text(1, 512, *KEY, "._@-/"),
        "sha256": DIGEST,
        "width": SIDE,
        "height": SIDE,
    },
    chat_pb2.ChatRequest: {
        "messages": items(1, 256, Bound(set(), [chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, content="x")], [])),
        "max_tokens": count(100, 2048),
        "temperature": real(0, 2),
        "top_p": STRENGTH,
        "model": choice(2),
    },
    chat_pb2.ChatMessage: {"role": choice(3, zero=False), "content": text(1, 32768)},
    # What only workers get.
    chat_pb2.GenerateRequest: {"job_id": text(1, 128, "az09_", "/:^`{A", "_"), "user_id": text(1, 128, *USER)},
    worker_pb2.LoadModelRequest: {"name": MODEL},
    worker_pb2.UnloadModelRequest: {"name": MODEL},
    worker_pb2.CountTokensRequest: {"model": MODEL, "texts": items(1, 300, text(0, 32768))},
}

SDXL = {"type": "sdxl_image_fast", "prompt": "a fox"}
WAN = {"type": "image_fast", "prompt": "a fox"}
SAYS = {"role": "user", "content": "x"}
LONG = [{"role": "user", "content": "x" * 32768}] * 8
PICTURE = {"key": "ann/upload_1/image_0.png", "sha256": "0" * 64, "width": 8, "height": 8}
# Rules about several fields, or about what has to be there: the field that is named, what is allowed and what is not.
# Those of a worker's GenerateRequest are tried in test_validation.py and with the workers.
ACROSS: dict[tuple[type[Message], str], tuple[str, list[dict[str, Any]], list[dict[str, Any]]]] = {
    (edge_pb2.SubmitJobRequest, "job"): ("job", [{"sdxl": SDXL}, {"wan": WAN}, {"chat": {"messages": [SAYS]}}], [{}]),
    (edge_pb2.SubmitJobRequest, "submit.edge_sets_id"): (
        "job.id", [], [{"sdxl": SDXL | {"id": "a"}}, {"wan": WAN | {"id": "a"}}],
    ),
    (edge_pb2.SubmitJobRequest, "submit.edge_sets_user_id"): (
        "job.user_id", [], [{"sdxl": SDXL | {"user_id": "a"}}, {"wan": WAN | {"user_id": "a"}}],
    ),
    (edge_pb2.SubmitJobRequest, "submit.edge_sets_enhancement_source"): (
        "job.enhancement_source", [],
        [{"sdxl": SDXL | {"enhancement_source": "none"}}, {"wan": WAN | {"enhancement_source": "none"}}],
    ),
    (edge_pb2.SubmitJobRequest, "submit.edge_sets_references"): (
        "job.references", [],
        [{"sdxl": SDXL | {"references": {"image": PICTURE}}}, {"wan": WAN | {"references": {"first": PICTURE}}}],
    ),
    (edge_pb2.SubmitJobRequest, "submit.seeds_once"): (
        "sdxl.sampling.seeds",
        [{"sdxl": SDXL | {"config": {"seed": 0}}}, {"sdxl": SDXL | {"sampling": {"seeds": [0]}}}],
        [{"sdxl": SDXL | {"config": {"seed": 0}, "sampling": {"seeds": [0]}}}],
    ),
    (edge_pb2.ChatRequest, "request"): ("request", [{"request": {"messages": [SAYS]}}], [{}]),
    (wan_pb2.WanJob, "wan_job.still_has_one_frame"): (
        "config.frames",
        [{**WAN, "config": {"frames": 1}}, {**WAN, "type": "video_fast", "config": {"frames": 2}}],
        [{**WAN, "config": {"frames": 2}}],
    ),
    (chat_pb2.ChatRequest, "chat_request.length"): ("messages", [{"messages": LONG}], [{"messages": [*LONG, SAYS]}]),
}  # fmt: skip


def broken_fields(message: Message) -> set[str]:
    """What breaks a rule; of lists without the place."""
    try:
        check(message)
    except InvalidRequest as refused:
        return {re.sub(r"\[\d+\]", "", violation.field) for violation in refused.violations}
    return set()


FIELDS = [
    pytest.param(cls, field, bound, id=f"{cls.DESCRIPTOR.full_name.removeprefix('atelier.')}.{field}")
    for cls, bounds in BOUNDS.items()
    for field, bound in bounds.items()
]


@pytest.mark.parametrize(("cls", "field", "bound"), FIELDS)
def test_a_field_takes_what_is_just_inside_its_bounds_and_nothing_just_outside(
    cls: type[Message], field: str, bound: Bound
) -> None:
    for value, refused in [*((value, False) for value in bound.inside), *((value, True) for value in bound.outside)]:
        message = cls()
        put(message, field, value)
        assert (field in broken_fields(message)) == refused, value


@pytest.mark.parametrize(("cls", "rule"), ACROSS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_rule_across_fields_refuses_what_it_is_for_and_nothing_else(cls: type[Message], rule: str) -> None:
    field, inside, outside = ACROSS[cls, rule]
    for plain in inside:
        assert broken_fields(from_spec_dict(cls, plain)) == set()
    for plain in outside:
        assert broken_fields(from_spec_dict(cls, plain)) == {field}


REQUESTS = [
    method.input_type
    for file in (chat_pb2, edge_pb2, sdxl_pb2, wan_pb2, worker_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


def within(messages: Iterable[Descriptor]) -> Iterator[type[Message]]:
    """These messages and all of ours that they hold, each once."""
    found, left = set(), [*messages]
    while left:
        message = left.pop()
        if message not in found and message.full_name.startswith("atelier."):
            found.add(message)
            yield message_factory.GetMessageClass(message)
            left += [field.message_type for field in message.fields if field.message_type]


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    return rules


def names(rules: Message, prefix: str = "") -> Iterator[str]:
    """What the rules of a field are about: "string.max_len"."""
    for field, value in rules.ListFields():
        if isinstance(value, Message) and value.DESCRIPTOR.file is validate_pb2.DESCRIPTOR:
            yield from names(value, f"{prefix}{field.name}.")
        elif field.name != "required":  # is one of ACROSS
            yield f"{prefix}{field.name}"


def test_no_rule_of_a_field_is_forgotten() -> None:
    found: dict[type[Message], dict[str, set[str]]] = {}
    for cls in within(REQUESTS):
        for field in cls.DESCRIPTOR.fields:
            if rules := {*names(rules_of(field))}:
                found.setdefault(cls, {})[field.name] = rules
    assert found == {cls: {name: bound.rules for name, bound in bounds.items()} for cls, bounds in BOUNDS.items()}


def test_no_rule_across_fields_is_forgotten() -> None:
    found: set[tuple[type[Message], str]] = set()
    for cls in within(REQUESTS):
        fields, oneofs = cls.DESCRIPTOR.fields, cls.DESCRIPTOR.oneofs
        found |= {(cls, rule.id) for rule in cls.DESCRIPTOR.GetOptions().Extensions[validate_pb2.message].cel}
        found |= {(cls, one.name) for one in oneofs if one.GetOptions().Extensions[validate_pb2.oneof].required}
        found |= {(cls, field.name) for field in fields if rules_of(field).required}
    assert {(cls, rule) for cls, rule in found if cls.DESCRIPTOR.name != "GenerateRequest"} == set(ACROSS)


def test_every_text_and_every_list_of_a_request_has_a_longest() -> None:
    for cls in within(REQUESTS):
        for field in cls.DESCRIPTOR.fields:
            rules = {*names(rules_of(field))}
            if field.is_repeated:
                assert "repeated.max_items" in rules, (cls, field.name)
            elif field.type in (field.TYPE_STRING, field.TYPE_BYTES):
                assert "string.max_len" in rules or BOUNDS[cls][field.name] is DIGEST, (cls, field.name)


@pytest.mark.parametrize(("cls", "field", "bound"), [case for case in FIELDS if case.values[2].characters])
def test_characters_are_tried_on_both_sides_of_what_a_pattern_allows(
    cls: type[Message], field: str, bound: Bound
) -> None:
    rules = rules_of(cls.DESCRIPTOR.fields_by_name[field])
    pattern = (rules.repeated.items if rules.HasField("repeated") else rules).string.pattern
    taken = [bool(re.fullmatch(pattern, bound.characters[0] + chr(code))) for code in range(129)]
    ends = {chr(code) for code in range(1, 128) if len({*taken[code - 1 : code + 2]}) > 1}
    assert ends <= {*bound.characters}
