"""Every RPC of the edge against all a client may send: a typed error, no exception text, and it keeps serving."""

import base64
import math
import re

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from atelier.contracts.json_form import from_spec_dict
from atelier.pb.edge.v1 import edge_pb2
from tests.kit.bad_input import OURS, call, mangled, outcome, reason, refused, text_fields, violations

METHODS = [
    method for service in edge_pb2.DESCRIPTOR.services_by_name.values() for method in service.methods_by_name.values()
]
BY_NAME = {method.full_name.removeprefix("atelier.edge.v1."): method for method in METHODS}
JOB = {"type": "sdxl_image_fast", "prompt": "a fox"}
WAN = {"type": "video_fast", "prompt": "a fox"}
LONG = [{"role": "user", "content": "x" * 30_000}]
CHAT = {"messages": [{"role": "user", "content": "hi"}]}
EXTREME_TOKENS = [
    base64.urlsafe_b64encode(token).decode()
    for token in (b"0001-01-01T00:00:00+23:59 a", b"9999-12-31T23:59:59-23:59 a", b"2026-01-01T00:00:00 a")
]
TYPED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE,
}


@pytest.mark.parametrize("name", BY_NAME)
async def test_no_rpc_answers_without_a_token(channel, name):
    for token in ("", "nonsense"):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call(channel, BY_NAME[name], b"\xff\xff garbage", token)
        assert failure.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert reason(failure.value) == "UNAUTHENTICATED"


@pytest.mark.parametrize("name", BY_NAME)
async def test_garbage_bytes_are_a_malformed_message(channel, name):
    for garbage in (b"\xff\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x7f", b"\x0b" * 100):
        error = await refused(channel, BY_NAME[name], garbage)
        assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")


@pytest.mark.parametrize("name", [name for name, method in BY_NAME.items() if any(text_fields(method))])
async def test_text_that_is_not_utf8_is_a_malformed_message(channel, name):
    for field in text_fields(BY_NAME[name]):
        body = bytes([field.number << 3 | 2, 2]) + b"\xc3\x28"
        error = await refused(channel, BY_NAME[name], body)
        assert reason(error) == "MALFORMED_MESSAGE"


@pytest.mark.parametrize("name", [name for name, method in BY_NAME.items() if any(text_fields(method))])
async def test_a_megabyte_of_text_is_refused_with_the_bound(channel, name):
    for field in text_fields(BY_NAME[name]):
        body = GetMessageClass(BY_NAME[name].input_type)(**{field.name: "1" * 2**20}).SerializeToString()
        error = await refused(channel, BY_NAME[name], body)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "at most" in (said := violations(error)[field.name]) or "no more than" in said
        assert len(error.details() or "") < 2000


@pytest.mark.parametrize("name", BY_NAME)
async def test_an_empty_message_is_answered_or_refused_by_type(channel, name):
    failure = await outcome(channel, BY_NAME[name], b"")
    assert failure is None or (failure.code() in TYPED and reason(failure))


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({}, "job", "required"),
        ({"sdxl": JOB | {"prompt": ""}}, "sdxl.prompt", "at least 1 characters"),
        ({"sdxl": JOB | {"prompt": "x" * 2**20}}, "sdxl.prompt", "at most 1000 characters, got 1048576 characters"),
        ({"sdxl": {"prompt": "a fox"}}, "sdxl.type", "must not be in list"),
        ({"sdxl": JOB | {"config": {"steps": 9}}}, "sdxl.config.steps", "must be 10 to 50, got 9"),
        ({"sdxl": JOB | {"config": {"num_images": 4}}}, "sdxl.config.num_images", "must be one of 1, 3, 6, got 4"),
        ({"sdxl": JOB | {"config": {"resolution": "big"}}}, "sdxl.config.resolution", "pattern"),
        ({"sdxl": JOB | {"id": "mine"}}, "job.id", "set by the edge"),
        ({"sdxl": JOB | {"user_id": "somebody"}}, "job.user_id", "set by the edge"),
        ({"sdxl": JOB | {"enhancement_source": "qwen_base"}}, "job.enhancement_source", "set by the edge"),
        ({"wan": WAN | {"enhancement_source": "none"}}, "job.enhancement_source", "set by the edge"),
        ({"wan": WAN | {"config": {"frames": 84}}}, "wan.config.frames", "83, got 84"),
        ({"wan": WAN | {"config": {"fps": 7}}}, "wan.config.fps", "must be 8 to 24, got 7"),
        ({"wan": WAN | {"type": "image_fast", "config": {"frames": 2}}}, "wan.config.frames", "exactly 1 frame"),
        ({"chat": {"messages": []}}, "chat.messages", "at least 1 item"),
        ({"chat": {"messages": CHAT["messages"] * 257}}, "chat.messages", "no more than 256 item"),
        ({"chat": {"messages": LONG * 9}}, "chat.messages", "all contents together must be at most 262144 characters"),
        ({"chat": CHAT | {"max_tokens": 2049}}, "chat.max_tokens", "2048, got 2049"),
        ({"chat": CHAT | {"temperature": 2.1}}, "chat.temperature", "2, got 2.1"),
        ({"sdxl": JOB, "preset": "nonsense"}, "preset", "must be one of .*, got 'nonsense'"),
        ({"sdxl": JOB, "deadline": "0s"}, "deadline", "must be 1s to 86400s"),
        ({"sdxl": JOB, "priority": 11}, "priority", "10, got 11"),
    ],
)
async def test_a_job_out_of_bounds_is_refused_with_field_bound_and_value(channel, fields, field, says):
    body = from_spec_dict(edge_pb2.SubmitJobRequest, fields).SerializeToString()
    error = await refused(channel, BY_NAME["JobService.SubmitJob"], body)
    assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    found = violations(error)
    assert field in found, found
    assert re.search(says, found[field]), found


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
async def test_numbers_that_are_none_are_refused(channel, value):
    request = from_spec_dict(edge_pb2.SubmitJobRequest, {"sdxl": JOB})
    request.sdxl.config.guidance_scale = value
    error = await refused(channel, BY_NAME["JobService.SubmitJob"], request.SerializeToString())
    assert "sdxl.config.guidance_scale" in violations(error)


async def test_an_enum_number_that_stands_for_nothing_is_refused(channel):
    request = from_spec_dict(edge_pb2.SubmitJobRequest, {"sdxl": JOB})
    request.sdxl.type = 99
    error = await refused(channel, BY_NAME["JobService.SubmitJob"], request.SerializeToString())
    assert "sdxl.type" in violations(error)


@pytest.mark.parametrize("name", ["GetJob", "WatchJob", "CancelJob"])
async def test_an_unknown_job_is_not_found(channel, name):
    body = edge_pb2.GetJobRequest(job_id="sdxl_image_fast_1_aaaaaa").SerializeToString()
    error = await refused(channel, BY_NAME[f"JobService.{name}"], body)
    assert (error.code(), reason(error)) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")


@pytest.mark.parametrize("key", ["nobody/nothing/image_0.png", "../../etc/passwd", "/etc/passwd", "a/./b", "\x00"])
@pytest.mark.parametrize("name", ["GetAsset", "DownloadAsset"])
async def test_an_unknown_asset_is_not_found(channel, name, key):
    body = edge_pb2.GetAssetRequest(key=key).SerializeToString()
    error = await refused(channel, BY_NAME[f"AssetService.{name}"], body)
    assert error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)


async def test_somebody_elses_job_cannot_be_told_from_none(ann, bob):
    job = await ann.submit(sdxl=JOB)
    for bobs in (bob.get(job.id), bob.cancel(job.id), bob.ended(job.id)):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await bobs
        assert reason(failure.value) == "JOB_NOT_FOUND"
    assert (await ann.get(job.id)).status == job.status


@pytest.mark.parametrize(
    "token", ["x", "AAAA", "bm90IGEgdG9rZW4=", "é", "MjAyNi0xMS0yMyAA", "MDAwMS0wMS0wMSBh", *EXTREME_TOKENS]
)
async def test_a_page_token_of_ones_own_making_is_refused(channel, token):
    for name in ("JobService.ListJobs", "AssetService.ListAssets"):
        body = edge_pb2.ListJobsRequest(page_token=token).SerializeToString()
        error = await refused(channel, BY_NAME[name], body)
        assert "page_token" in violations(error)


async def test_a_message_larger_than_the_server_takes_is_refused(channel):
    error = await refused(channel, BY_NAME["JobService.SubmitJob"], b"x" * (5 * 2**20))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_rpcs_of_later_work_say_so(channel):
    for name in ("FleetService.DrainWorker", "FleetService.LoadModel"):
        message = GetMessageClass(BY_NAME[name].input_type)
        body = message(**{field.name: "a" for field in text_fields(BY_NAME[name])}).SerializeToString()
        error = await refused(channel, BY_NAME[name], body)
        assert (error.code(), reason(error)) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")
        assert "not built yet" in (error.details() or "")


@pytest.mark.parametrize(
    "fields",
    [
        {"sdxl": JOB | {"config": {"steps": 20, "resolution": "512x512"}, "compel_enabled": False}, "deadline": "60s"},
        {"wan": WAN | {"config": {"frames": 5}, "sampling": {"seed": 1}}, "preset": "video_high"},
        {"chat": CHAT | {"temperature": 0.5, "model": "qwen_base"}, "idempotency_key": "k"},
    ],
)
async def test_random_damage_never_shows_a_mistake_of_ours(channel, fields):
    body = from_spec_dict(edge_pb2.SubmitJobRequest, fields).SerializeToString()
    for damaged in mangled(body, count=300, seed=1):
        error = await outcome(channel, BY_NAME["JobService.SubmitJob"], damaged)
        assert error is None or (error.code() not in OURS and reason(error)), (damaged, error)


async def test_after_all_that_it_keeps_serving(ann, channel):
    for garbage in (b"\xff" * 10, b"\x0a\xff"):
        await refused(channel, BY_NAME["JobService.SubmitJob"], garbage)
    job = await ann.submit(sdxl=JOB)
    assert (await ann.get(job.id)).id == job.id
