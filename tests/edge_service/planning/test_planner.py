import re

import pytest

from atelier.contracts.errors import InvalidRequest, PermissionDenied
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.edge.v1 import edge_pb2
from edge_service.adapters.url_guard import UrlGuard
from edge_service.domain.job_id import new_job_id
from tests.kit.planned import planned

TIER = "basic"


def request(**fields: object) -> edge_pb2.SubmitJobRequest:
    job = {"sdxl": {"type": "sdxl_image_fast", "prompt": "a fox"}}
    return from_spec_dict(edge_pb2.SubmitJobRequest, job | fields)


def test_priority_is_that_of_the_tier_and_of_the_request_together():
    assert planned(request(), TIER).priority == 10
    assert planned(request(priority=5), TIER).priority == 15
    assert planned(request(priority=-10), TIER).priority == 0


def test_a_priority_that_the_tier_does_not_allow_is_refused_with_the_range():
    with pytest.raises(PermissionDenied, match="priority: your tier allows -10 to 5, got 6"):
        planned(request(priority=6), TIER)


def test_the_deadline_is_an_hour_unless_the_request_says_otherwise():
    assert planned(request(), TIER).deadline_seconds == 3600
    assert planned(request(deadline="1.5s"), TIER).deadline_seconds == 1.5


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
    assert planned(request(webhook={"url": webhook.url, "on_start": True}), TIER).webhook == webhook
    assert planned(request(), TIER).webhook is None


def test_a_webhook_is_judged_by_what_the_operator_allows():
    inside = request(webhook={"url": "http://10.1.2.3/hook"})
    with pytest.raises(InvalidRequest, match=r"webhook\.url: must not be a private"):
        planned(inside, TIER)
    assert planned(inside, TIER, UrlGuard("10.1.0.0/16")).webhook
