"""Every RPC of the three workers against all a caller may send: a typed error naming the field; it keeps serving."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from atelier.contracts.json_form import from_spec_dict
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from atelier.pb.worker.v1 import worker_pb2
from chat_service.config import ChatConfig
from chat_service.servicer import chat_worker
from sdxl_service.config import SdxlConfig
from sdxl_service.servicer import sdxl_worker
from shared.server import Server
from tests.kit.bad_input import MEGABYTE, OURS, broken, mangled, outcome, reason, refused, violations
from tests.kit.fake_chat_engine import FakeEngine as FakeChatEngine
from tests.kit.fake_sdxl_engine import JOB as SDXL_JOB
from tests.kit.fake_sdxl_engine import FakeEngine as FakeSdxlEngine
from tests.kit.fake_wan_engine import JOB as WAN_JOB
from tests.kit.fake_wan_engine import FakeEngine as FakeWanEngine
from wan_service.config import WanConfig
from wan_service.servicer import wan_worker

CHAT_REQUEST = {
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 100,
    "temperature": 0.7,
    "top_p": 0.9,
    "model": "qwen_instruct",
}
SERVICES = {
    "sdxl": sdxl_pb2.DESCRIPTOR.services_by_name["SdxlService"],
    "wan": wan_pb2.DESCRIPTOR.services_by_name["WanService"],
    "chat": chat_pb2.DESCRIPTOR.services_by_name["ChatService"],
}
REQUIRED = (
    "job", "job.id", "job.type", "job.prompt", "job.user_id", "job.config", "job.sampling",
    "job_id", "user_id", "request", "request.messages", "request.model", "request.max_tokens",
)  # fmt: skip
# Some of the fields that have to be among those that are spoilt.
BOUNDED = {
    "sdxl": {"job.id", "job.type", "job.config.num_images", "job.config.steps", "job.config.resolution",
             "job.metadata.reference_strength", "job.sampling.seeds", "job.references.image.width"},
    "wan": {"job.user_id", "job.prompt", "job.config.frames", "job.config.fps", "job.sampling.flow_shift",
            "job.references.last.key"},
    "chat": {"job_id", "user_id", "request.messages", "request.messages[0].role", "request.messages[0].content",
             "request.max_tokens", "request.temperature", "request.top_p", "request.model"},
}  # fmt: skip
GENERATE = {name: service.methods_by_name["Generate"] for name, service in SERVICES.items()}
CONTROL = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].methods_by_name
GOOD: dict[str, Message] = {
    "sdxl": from_spec_dict(sdxl_pb2.GenerateRequest, {"job": SDXL_JOB}),
    "wan": from_spec_dict(wan_pb2.GenerateRequest, {"job": WAN_JOB}),
    "chat": from_spec_dict(
        chat_pb2.GenerateRequest, {"job_id": "chat_turn_1_abcdef", "user_id": "ann", "request": CHAT_REQUEST}
    ),
}


def services(folder: Path) -> dict[str, Callable[[], tuple[object, object]]]:
    assets = (folder / "user-library").as_uri()
    sdxl, wan = SdxlConfig(model="fake", assets=assets), WanConfig(model="fake", assets=assets)
    chat = ChatConfig(model="fake")
    return {
        "sdxl": lambda: (sdxl_worker(sdxl, FakeSdxlEngine), sdxl),
        "wan": lambda: (wan_worker(wan, FakeWanEngine), wan),
        "chat": lambda: (chat_worker(chat, FakeChatEngine), chat),
    }


@pytest.fixture(scope="module", params=["sdxl", "wan", "chat"])
async def worker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[str, grpc.aio.Channel]]:
    """The name of a worker, and a channel to it."""
    service, config = services(tmp_path_factory.mktemp(request.param))[request.param]()
    server = Server(service, config)  # type: ignore[arg-type]
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield request.param, channel
    await server.stop()


async def test_a_good_request_is_answered(worker):
    name, channel = worker
    assert await outcome(channel, GENERATE[name], GOOD[name].SerializeToString()) is None


async def test_every_field_out_of_its_bounds_is_refused_by_name(worker):
    name, channel = worker
    spoilt = list(broken(GOOD[name]))
    assert {field for field, _ in spoilt} >= BOUNDED[name]
    for field, message in spoilt:
        error = await refused(channel, GENERATE[name], message.SerializeToString())
        assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"), field
        assert field in violations(error), (field, violations(error))
        assert len(error.details()) < 2000


async def test_every_field_that_is_missing_is_refused(worker):
    name, channel = worker
    for whole in REQUIRED:
        message = type(GOOD[name])()
        message.CopyFrom(GOOD[name])
        *path, last = whole.split(".")
        if path and path[0] not in message.DESCRIPTOR.fields_by_name:
            continue
        inner = getattr(message, path[0]) if path else message
        if last not in inner.DESCRIPTOR.fields_by_name:
            continue
        inner.ClearField(last)
        error = await refused(channel, GENERATE[name], message.SerializeToString())
        assert reason(error) == "INVALID_REQUEST", whole
        assert any(field.startswith(whole.partition(".")[0]) for field in violations(error)), (whole, violations(error))


async def test_bytes_that_are_no_message_are_malformed(worker):
    name, channel = worker
    for method in (GENERATE[name], *CONTROL.values()):
        for garbage in (b"\xff" * 8, b"\x0a\xff\xff\xff\xff\x7f", b"\x0b" * 100):
            error = await refused(channel, method, garbage)
            assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")


async def test_text_that_is_not_utf8_is_malformed(worker):
    name, channel = worker
    word = {"sdxl": b"lighthouse", "wan": b"waves", "chat": b"hi"}[name]
    body = GOOD[name].SerializeToString()
    assert word in body
    error = await refused(channel, GENERATE[name], body.replace(word, b"\xc3\x28" + word[2:]))
    assert reason(error) == "MALFORMED_MESSAGE"


async def test_a_user_or_job_that_would_leave_its_folder_is_refused(worker):
    name, channel = worker
    for bad in ("../bob", "..", "a/b", "/etc", "a\x00b"):
        for field in ("user_id", "id"):
            message = type(GOOD[name])()
            message.CopyFrom(GOOD[name])
            target = message if name == "chat" else message.job
            setattr(target, "job_id" if name == "chat" and field == "id" else field, bad)
            assert reason(await refused(channel, GENERATE[name], message.SerializeToString())) == "INVALID_REQUEST"


async def test_control_messages_are_bounded_too(worker):
    _, channel = worker
    for name in ("LoadModel", "UnloadModel"):
        for bad in ("", "x" * 101, "x" * MEGABYTE):
            body = worker_pb2.LoadModelRequest(name=bad).SerializeToString()
            assert "name" in violations(await refused(channel, CONTROL[name], body))


async def test_random_damage_never_shows_a_mistake_of_ours(worker):
    name, channel = worker
    for damaged in mangled(GOOD[name].SerializeToString(), count=300, seed=2):
        error = await outcome(channel, GENERATE[name], damaged)
        assert error is None or (error.code() not in OURS and reason(error)), (damaged, error)


async def test_texts_to_be_counted_are_bounded_too(worker):
    _, channel = worker
    bad = {
        "texts": [[], ["x"] * 301, ["x" * 32769]],
        "model": ["", "x" * 101, "not loaded"],
    }
    for field, values in bad.items():
        for value in values:
            fields = {"model": "m", "texts": ["x"], field: value}
            body = worker_pb2.CountTokensRequest(**fields).SerializeToString()
            error = await refused(channel, CONTROL["CountTokens"], body)
            assert any(named.startswith(field) for named in violations(error)), (field, violations(error))
            assert len(error.details()) < 2000
