import re

import pytest

from edge_service.intake.job_ids import new_job_id
from edge_service.intake.plan import plan_job
from shared.errors import NotImplementedYet
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.spec_json import from_spec_dict


def request(**fields: object) -> edge_pb2.SubmitJobRequest:
    job = {"sdxl": {"type": "sdxl_image_fast", "prompt": "a fox"}}
    return from_spec_dict(edge_pb2.SubmitJobRequest, job | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"webhook": {"url": "https://example.com/hook"}},
        {"priority": 0},
        {"content_mode": "sfw"},
        {"enhancement": "on"},
    ],
)
def test_a_control_without_an_effect_yet_is_refused_by_name(fields):
    with pytest.raises(NotImplementedYet, match=next(iter(fields))):
        plan_job(request(**fields), {})


def test_safe_for_work_mode_is_refused_while_nothing_keeps_its_promise():
    chat = {"messages": [{"role": "user", "content": "hi"}], "sfw_mode": True}
    with pytest.raises(NotImplementedYet, match="sfw_mode"):
        plan_job(from_spec_dict(edge_pb2.SubmitJobRequest, {"chat": chat}), {})


def test_enhanced_job_types_are_refused_while_nothing_enhances():
    wan = {"type": "video7b_fast_enhanced", "prompt": "a fox"}
    with pytest.raises(NotImplementedYet, match="video7b_fast_enhanced"):
        plan_job(from_spec_dict(edge_pb2.SubmitJobRequest, {"wan": wan}), {})


def test_switching_enhancement_off_is_what_happens_anyway():
    assert plan_job(request(enhancement="off"), {}).type_name == "sdxl_image_fast"


def test_the_deadline_is_an_hour_unless_the_request_says_otherwise():
    assert plan_job(request(), {}).deadline_seconds == 3600
    assert plan_job(request(deadline="1.5s"), {}).deadline_seconds == 1.5


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
