from google.protobuf.descriptor import FieldDescriptor

from atelier.contracts.json_form import from_spec_dict
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from edge_service.domain.kinds import KINDS
from edge_service.moderation.text_fields import NOT_CONTENT, text_fields, texts_of

CONTENT = {
    "atelier.sdxl.v1.SdxlJob.prompt",
    "atelier.sdxl.v1.SdxlJob.compel_weights",
    "atelier.sdxl.v1.SdxlConfig.negative_prompt",
    "atelier.wan.v1.WanJob.prompt",
    "atelier.wan.v1.WanSampling.negative_prompt",
    "atelier.chat.v1.ChatMessage.content",
}


def test_every_text_of_a_job_is_either_content_or_named_as_none():
    """A new field of text fails here until someone has said which it is; until then it is read as content."""
    fields = {name for kind in KINDS.values() for name in text_fields(kind.job_class.DESCRIPTOR)}
    assert fields == CONTENT | NOT_CONTENT
    assert CONTENT.isdisjoint(NOT_CONTENT)


def test_the_texts_of_an_image_job():
    job = from_spec_dict(
        sdxl_pb2.SdxlJob,
        {
            "type": "sdxl_image_high",
            "prompt": "a fox",
            "id": "x",
            "compel_weights": "(fox)1.2",
            "config": {"negative_prompt": "rain", "resolution": "64x64"},
            "metadata": {"reference_image_url": "https://example.com/a.png"},
        },
    )
    assert texts_of(job) == {"prompt": "a fox", "compel_weights": "(fox)1.2", "config.negative_prompt": "rain"}


def test_the_texts_of_a_video_job():
    job = wan_pb2.WanJob(prompt="a fox", sampling=wan_pb2.WanSampling(negative_prompt="rain"))
    assert texts_of(job) == {"prompt": "a fox", "sampling.negative_prompt": "rain"}


def test_the_texts_of_a_conversation_are_all_its_messages():
    said = [
        (chat_pb2.CHAT_ROLE_SYSTEM, "be brief"),
        (chat_pb2.CHAT_ROLE_USER, "hi"),
        (chat_pb2.CHAT_ROLE_USER, "a fox"),
    ]
    job = chat_pb2.ChatRequest(messages=[chat_pb2.ChatMessage(role=role, content=text) for role, text in said])
    assert texts_of(job) == {
        "messages[0].content": "be brief",
        "messages[1].content": "hi",
        "messages[2].content": "a fox",
    }


def test_every_field_of_content_is_really_collected():
    for kind in KINDS.values():
        job = _filled(kind.job_class())
        collected = texts_of(job)
        expected = CONTENT & set(text_fields(job.DESCRIPTOR))
        assert len(collected) == len(expected)
        assert set(collected.values()) == expected


def test_what_is_added_to_a_job_is_among_its_texts():
    assert texts_of(sdxl_pb2.SdxlJob(prompt="a fox"), {"style": "oil"}) == {"prompt": "a fox", "style": "oil"}


def _filled(message):
    """A message in which each field of text says its own name."""
    for field in message.DESCRIPTOR.fields:
        inner = getattr(message, field.name)
        if field.message_type and field.is_repeated:
            _filled(inner.add())
        elif field.message_type:
            _filled(inner)
        elif field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, field.full_name)
    return message
