"""What a tier permits: each permission, with it and without it, at the field that asks for it."""

from typing import Any

import pytest

from atelier.contracts.errors import PermissionDenied
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from edge_service.accounts.tiers import ABILITIES, Tier, tiers
from edge_service.domain.job_types import job_types
from edge_service.domain.kinds import kind_of
from edge_service.planning.permissions import may_chat, may_repeat, may_submit, require
from tests.kit.decided import decided, filled_job

JOBS = ("job.*",)
TURN = {"messages": [{"role": "user", "content": "hi"}]}
URL = "https://example.com/a.png"


def tier(*permissions: str) -> Tier:
    return tiers().tiers["basic"].model_copy(update={"permissions": permissions})


def asked(type_name: str = "sdxl_image_fast", job: dict[str, Any] | None = None, **fields: Any):
    """A request for a job of a type."""
    worker = job_types()[type_name].worker_type
    whole = (TURN if worker == "chat" else {"type": type_name, "prompt": "a fox"}) | (job or {})
    return from_spec_dict(edge_pb2.SubmitJobRequest, {worker: whole} | fields)


@pytest.mark.parametrize("name", job_types())
def test_a_job_type_needs_its_permission(name: str):
    may_submit(tier(f"job.{name}", "enhancement"), asked(name))
    others = [f"job.{other}" for other in job_types() if other != name]
    with pytest.raises(PermissionDenied, match=f"type: your tier, basic, lacks the permission job.{name}$"):
        may_submit(tier(*others, *ABILITIES), asked(name))


ASKING = [
    ("webhooks", asked(webhook={"url": "https://example.com/hook"}), "webhook"),
    ("nsfw", asked(content_mode="nsfw"), "content_mode"),
    ("enhancement", asked(enhancement="on"), "enhancement"),
    ("enhancement", asked("video7b_fast_enhanced"), "type"),
    ("references", asked(reference_use="modify"), "reference_use"),
    ("references", asked(job={"metadata": {"reference_image_url": URL}}), "metadata.reference_image_url"),
    ("references", asked(job={"metadata": {"reference_type": "style"}}), "metadata.reference_type"),
    ("references", asked("video_fast", {"config": {"reference_mode": "start"}}), "config.reference_mode"),
    ("references", asked("video_fast", {"config": {"image": URL}}), "config.image"),
    ("references", asked("video_fast", {"config": {"first_frame": URL}}), "config.first_frame"),
    ("references", asked("video_fast", {"config": {"last_frame": URL}}), "config.last_frame"),
    ("references", asked("video_fast", {"metadata": {"reference_image_url": URL}}), "metadata.reference_image_url"),
    ("references", asked("video_fast", {"metadata": {"start_reference_url": URL}}), "metadata.start_reference_url"),
    ("references", asked("video_fast", {"metadata": {"end_reference_url": URL}}), "metadata.end_reference_url"),
]


@pytest.mark.parametrize(("permission", "request_", "field"), ASKING, ids=[f"{a}-{c}" for a, _, c in ASKING])
def test_what_a_request_asks_for_needs_its_permission(permission: str, request_: edge_pb2.SubmitJobRequest, field: str):
    may_submit(tier(*JOBS, permission), request_)
    lacking = tier(*JOBS, *(ability for ability in ABILITIES if ability != permission))
    with pytest.raises(PermissionDenied, match=f"^{field}: your tier, basic, lacks the permission {permission}$"):
        may_submit(lacking, request_)


@pytest.mark.parametrize(
    "request_",
    [
        asked(),
        asked(content_mode="sfw"),
        asked(enhancement="off"),
        asked("video7b_fast_enhanced", enhancement="off"),
        asked("video_fast", {"config": {"reference_mode": "none"}}),
        asked("chat_turn"),
    ],
)
def test_what_asks_for_nothing_more_needs_nothing_more(request_: edge_pb2.SubmitJobRequest):
    may_submit(tier(*JOBS), request_)


def test_a_priority_beyond_the_tier_is_refused_before_anything_is_done_for_it():
    guest = tiers().tiers["guest"]
    with pytest.raises(PermissionDenied, match="priority: your tier allows"):
        may_submit(guest, asked(priority=guest.request_priority.most + 1))


def test_a_turn_needs_the_permission_to_chat():
    may_chat(tier("chat"))
    with pytest.raises(PermissionDenied, match="your tier, basic, lacks the permission chat"):
        may_chat(tier(*JOBS))


def test_an_explicit_turn_needs_the_permission():
    may_chat(tier("chat", "nsfw"), edge_pb2.CONTENT_MODE_NSFW)
    may_chat(tier("chat"), edge_pb2.CONTENT_MODE_SFW)
    with pytest.raises(PermissionDenied, match="content_mode: your tier, basic, lacks the permission nsfw"):
        may_chat(tier("chat"), edge_pb2.CONTENT_MODE_NSFW)


def test_what_was_allowed_once_is_asked_again_when_it_is_repeated():
    image = sdxl_pb2.SdxlJob(type=sdxl_pb2.SDXL_JOB_TYPE_SDXL_IMAGE_FAST)
    may_repeat(tier("job.sdxl_*"), "sdxl_image_fast", image, webhook=False)
    with pytest.raises(PermissionDenied, match=r"job\.sdxl_image_fast"):
        may_repeat(tier("job.video_fast"), "sdxl_image_fast", image, webhook=False)
    with pytest.raises(PermissionDenied, match="webhooks"):
        may_repeat(tier("job.*"), "sdxl_image_fast", image, webhook=True)


@pytest.mark.parametrize(
    ("name", "names_it"),
    [
        ("sdxl_image_fast", {"metadata": {"reference_image_url": URL}}),
        ("video_fast", {"config": {"image": URL}}),
        ("video_fast", {"metadata": {"start_reference_url": URL}}),
    ],
)
def test_a_job_with_a_picture_is_not_repeated_without_references_though_its_address_is_gone(
    name: str, names_it: dict[str, Any]
):
    request = asked(name, names_it)
    asking = request.sdxl if request.HasField("sdxl") else request.wan
    stored = filled_job(asking).job
    kind = kind_of(stored)
    decided(kind.resolve_references, stored, asking, 0, 0)
    kind.clear_reference_addresses(stored)
    may_repeat(tier("job.*", "references"), name, stored, webhook=False)
    with pytest.raises(PermissionDenied, match="references"):
        may_repeat(tier("job.*"), name, stored, webhook=False)


def test_who_may_chat_may_repeat_a_turn_as_a_queued_job():
    turn = from_spec_dict(chat_pb2.ChatRequest, TURN)
    may_repeat(tier("chat"), "chat_turn", turn, webhook=False)
    may_repeat(tier("job.chat_turn"), "chat_turn", turn, webhook=False)
    with pytest.raises(PermissionDenied, match=r"job\.chat_turn"):
        may_repeat(tier("job.video_fast"), "chat_turn", turn, webhook=False)


@pytest.mark.parametrize("ability", ABILITIES)
def test_an_ability_is_required_by_name(ability: str):
    require(tier(ability), ability)
    with pytest.raises(PermissionDenied, match=f"^your tier, basic, lacks the permission {ability}$"):
        require(tier(*JOBS, *(other for other in ABILITIES if other != ability)), ability)
