import re

import pytest

from edge_service.addresses import Addresses
from edge_service.intake.job_ids import new_job_id
from edge_service.intake.plan import plan_job
from edge_service.intake.tiers import tiers
from shared.errors import InvalidRequest, NotImplementedYet, PermissionDenied
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.spec_json import from_spec_dict

TIER = tiers().tiers["basic"]


def request(**fields: object) -> edge_pb2.SubmitJobRequest:
    job = {"sdxl": {"type": "sdxl_image_fast", "prompt": "a fox"}}
    return from_spec_dict(edge_pb2.SubmitJobRequest, job | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"content_mode": "sfw"},
        {"enhancement": "on"},
    ],
)
def test_a_control_without_an_effect_yet_is_refused_by_name(fields):
    with pytest.raises(NotImplementedYet, match=next(iter(fields))):
        plan_job(request(**fields), {}, TIER)


def test_safe_for_work_mode_is_refused_while_nothing_keeps_its_promise():
    chat = {"messages": [{"role": "user", "content": "hi"}], "sfw_mode": True}
    with pytest.raises(NotImplementedYet, match="sfw_mode"):
        plan_job(from_spec_dict(edge_pb2.SubmitJobRequest, {"chat": chat}), {}, TIER)


def test_enhanced_job_types_are_refused_while_nothing_enhances():
    wan = {"type": "video7b_fast_enhanced", "prompt": "a fox"}
    with pytest.raises(NotImplementedYet, match="video7b_fast_enhanced"):
        plan_job(from_spec_dict(edge_pb2.SubmitJobRequest, {"wan": wan}), {}, TIER)


def test_switching_enhancement_off_is_what_happens_anyway():
    assert plan_job(request(enhancement="off"), {}, TIER).type_name == "sdxl_image_fast"


def test_priority_is_that_of_the_tier_and_of_the_request_together():
    assert plan_job(request(), {}, TIER).priority == 10
    assert plan_job(request(priority=5), {}, TIER).priority == 15
    assert plan_job(request(priority=-10), {}, TIER).priority == 0


def test_a_priority_that_the_tier_does_not_allow_is_refused_with_the_range():
    with pytest.raises(PermissionDenied, match="priority: your tier allows -10 to 5, got 6"):
        plan_job(request(priority=6), {}, TIER)


def test_the_deadline_is_an_hour_unless_the_request_says_otherwise():
    assert plan_job(request(), {}, TIER).deadline_seconds == 3600
    assert plan_job(request(deadline="1.5s"), {}, TIER).deadline_seconds == 1.5


@pytest.mark.parametrize(
    ("worker_type", "type_name", "begins"),
    [
        ("sdxl", "sdxl_image_high", "sdxl_image_high_1734567890_"),
        ("wan", "video_fast", "wan_video_fast_1734567890_"),
        ("chat", "chat_turn", "chat_turn_1734567890_"),
    ],
)
def test_job_ids_have_the_form_of_the_specification(worker_type, type_name, begins):
    job_id = new_job_id(worker_type, type_name, 1734567890.9)
    assert re.fullmatch(re.escape(begins) + "[a-z0-9]{6}", job_id)


def test_a_webhook_is_part_of_the_plan():
    webhook = edge_pb2.Webhook(url="https://example.com/hook", on_start=True)
    assert plan_job(request(webhook={"url": webhook.url, "on_start": True}), {}, TIER).webhook == webhook
    assert plan_job(request(), {}, TIER).webhook is None


def test_a_webhook_is_judged_by_what_the_operator_allows():
    inside = request(webhook={"url": "http://10.1.2.3/hook"})
    with pytest.raises(InvalidRequest, match=r"webhook\.url: must not be a private"):
        plan_job(inside, {}, TIER)
    assert plan_job(inside, {}, TIER, Addresses("10.1.0.0/16")).webhook
