"""From keyword options and the specification's JSON to the messages of the edge."""

from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from atelier import requests
from atelier.errors import InvalidRequest
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2


def fields(*messages: Descriptor) -> set[str]:
    return {field.name for message in messages for field in message.fields}


def test_every_declared_option_is_a_field_of_the_contract() -> None:
    image = fields(*(part.DESCRIPTOR for part in (
        sdxl_pb2.SdxlJob, sdxl_pb2.SdxlConfig, sdxl_pb2.SdxlMetadata, sdxl_pb2.SdxlSampling
    )))  # fmt: skip
    video = fields(*(part.DESCRIPTOR for part in (
        wan_pb2.WanJob, wan_pb2.WanConfig, wan_pb2.WanMetadata, wan_pb2.WanSampling
    )))  # fmt: skip
    submit = set(requests.SubmitOptions.__annotations__)
    assert submit <= fields(edge_pb2.SubmitJobRequest.DESCRIPTOR)
    assert set(requests.ImageOptions.__annotations__) - submit <= image
    assert set(requests.VideoOptions.__annotations__) - submit <= video
    chat = fields(chat_pb2.ChatRequest.DESCRIPTOR) | fields(edge_pb2.ChatRequest.DESCRIPTOR)
    assert set(requests.ChatOptions.__annotations__) == chat - {"messages", "request"}


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"type": "sdxl_image_fast", "prompt": "x"}, sdxl_pb2.SdxlJob),
        ({"type": "video7b_fast_enhanced", "prompt": "x"}, wan_pb2.WanJob),
        ({"messages": [{"role": "user", "content": "x"}]}, chat_pb2.ChatRequest),
        ({"wan": {"type": "image_fast", "prompt": "x"}, "priority": 1}, edge_pb2.SubmitJobRequest),
    ],
)
def test_the_kind_of_a_json_job_is_recognised(plain: dict[str, Any], message: type) -> None:
    assert requests.message_class(plain) is message
    assert requests.submission(plain).WhichOneof("job")


def test_an_unknown_job_type_is_refused_with_all_that_are_known() -> None:
    with pytest.raises(InvalidRequest, match=r"unknown word 'oil'; known: sdxl_image_fast, .*video7b_high_enhanced"):
        requests.submission({"type": "oil", "prompt": "x"})


@pytest.mark.parametrize("text", ["", "[1]", "{", "nonsense", '"text"', "[" * 100_000])
def test_text_that_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        requests.from_text(text)


def test_nothing_of_a_file_is_stripped() -> None:
    job = requests.from_text('{"type": "sdxl_image_fast", "prompt": "x", "id": "sdxl_1", "user_id": "me"}')
    assert (job.id, job.user_id) == ("sdxl_1", "me")  # type: ignore[union-attr]


def test_the_key_of_a_submission_is_kept() -> None:
    request = edge_pb2.SubmitJobRequest(sdxl=sdxl_pb2.SdxlJob(prompt="x"), idempotency_key="mine", priority=3)
    assert requests.submission(request) == request


def test_options_go_before_what_the_job_itself_says() -> None:
    plain = {"sdxl": {"prompt": "x"}, "priority": 1, "webhook": {"url": "https://a.example/", "on_start": True}}
    request = requests.submission(plain, {"priority": -3, "webhook": "https://b.example/"})
    assert request.priority == -3
    assert request.webhook == edge_pb2.Webhook(url="https://b.example/", on_start=True)


def test_an_option_of_the_wrong_kind_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match="priority"):
        requests.submission({"type": "video_fast", "prompt": "x"}, {"priority": "soon"})  # type: ignore[typeddict-item]


def test_two_submissions_of_one_message_have_different_keys() -> None:
    request = edge_pb2.SubmitJobRequest(sdxl=sdxl_pb2.SdxlJob(prompt="x"))
    keys = {requests.submission(request).idempotency_key for _ in range(2)}
    assert len(keys - {""}) == 2
    assert request.idempotency_key == ""
