"""What the edge adds to a worker's result: who improved the prompt, and whether the job type asked for it by itself."""

from datetime import UTC, datetime
from typing import Any

import pytest

from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from edge_service.queue.execution import _finish
from edge_service.queue.rows import Lease

NONE, INSTRUCT, BASE = (
    job_pb2.ENHANCEMENT_SOURCE_NONE, job_pb2.ENHANCEMENT_SOURCE_QWEN_INSTRUCT, job_pb2.ENHANCEMENT_SOURCE_QWEN_BASE,
)  # fmt: skip
NOBODY = job_pb2.ENHANCEMENT_SOURCE_UNSPECIFIED


def lease(type_name: str, job: Any) -> Lease:
    now = datetime.now(UTC)
    return Lease("id", "ann", type_name, "any", 1, job, now, False, "kind", 1.0, 0)


@pytest.mark.parametrize(("source", "told"), [(NOBODY, NONE), (NONE, NONE), (INSTRUCT, INSTRUCT)])
def test_an_image_says_who_improved_its_prompt(
    source: job_pb2.EnhancementSource, told: job_pb2.EnhancementSource
) -> None:
    callback = sdxl_pb2.SdxlCallback()
    _finish(lease("sdxl_image_fast", sdxl_pb2.SdxlJob(enhancement_source=source)), callback)
    assert callback.metadata.enhancement_source == told


@pytest.mark.parametrize(
    ("type_name", "source", "told", "by_itself"),
    [
        ("video_fast", NOBODY, NONE, False),
        ("video_fast", BASE, BASE, False),
        ("video7b_fast_enhanced", BASE, BASE, True),
        ("video7b_fast_enhanced", NONE, NONE, True),
        ("video7b_fast_enhanced", NOBODY, NONE, False),
        ("a_type_that_is_no_more", BASE, BASE, False),
    ],
)
def test_a_video_says_too_whether_its_type_asked_for_it_by_itself(
    type_name: str, source: job_pb2.EnhancementSource, told: job_pb2.EnhancementSource, by_itself: bool
) -> None:
    callback = wan_pb2.WanCallback()
    _finish(lease(type_name, wan_pb2.WanJob(enhancement_source=source)), callback)
    assert callback.metadata.enhancement_source == told
    assert callback.metadata.HasField("auto_enhancement")
    assert callback.metadata.auto_enhancement is by_itself


def test_a_chat_is_a_conversation_whatever_the_worker_says() -> None:
    callback = chat_pb2.ChatCallback()
    callback.metadata.enhancement_type = chat_pb2.CHAT_ENHANCEMENT_TYPE_BASE
    _finish(lease("chat_turn", chat_pb2.ChatRequest()), callback)
    assert callback.metadata.enhancement_type == chat_pb2.CHAT_ENHANCEMENT_TYPE_NONE
