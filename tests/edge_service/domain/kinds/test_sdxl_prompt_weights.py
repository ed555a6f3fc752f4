"""Weights in the prompts of a job: when they count, and what is refused before anything is queued."""

from typing import Any

import pytest

from atelier.contracts.errors import InvalidRequest
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from edge_service.domain.kinds import WorkerJob, kind_of
from edge_service.domain.kinds.sdxl_prompt_weights import check as check_weights
from tests.kit.decided import decided


def weigh(job: WorkerJob, asked: WorkerJob) -> list[edge_pb2.Decision]:
    return decided(kind_of(job).resolve_prompt_weights, job, asked)[1]


def weighed(preset: dict[str, Any] | None = None, **asked: Any) -> tuple[sdxl_pb2.SdxlJob, list[edge_pb2.Decision]]:
    """A job as presets and the default of its type have filled it, and what was decided."""
    plain = {"type": "sdxl_image_fast", "prompt": "a fox"} | asked
    request = from_spec_dict(sdxl_pb2.SdxlJob, plain)
    job = from_spec_dict(sdxl_pb2.SdxlJob, {"compel_enabled": False} | (preset or {}) | plain)
    return job, weigh(job, request)


def said(decisions: list[edge_pb2.Decision]) -> list[tuple[str, str, str]]:
    return [(each.field, each.to, each.why) for each in decisions]


def refusal(**asked: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        weighed(**asked)
    return {violation.field: violation.description for violation in refused.value.violations}


def test_a_plain_job_is_left_alone() -> None:
    assert weighed()[1] == []


def test_weights_switch_compel_on() -> None:
    job, decisions = weighed(compel_weights="(red:1.3)")
    assert job.compel_enabled
    assert said(decisions) == [("compel_enabled", "true", "there are compel_weights")]


def test_weights_of_a_preset_do_so_too() -> None:
    job, decisions = weighed({"compel_weights": "(red:1.3)"})
    assert (job.compel_enabled, job.compel_weights, len(decisions)) == (True, "(red:1.3)", 1)


def test_what_was_switched_off_stays_off() -> None:
    job, decisions = weighed({"compel_weights": "(red:1.3)"}, compel_enabled=False)
    assert (job.compel_enabled, job.compel_weights) == (False, "")
    assert [each.field for each in decisions] == ["compel_weights"]


def test_weights_without_an_effect_are_refused() -> None:
    says = "has no effect while compel_enabled is false: leave one of them out"
    assert refusal(compel_enabled=False, compel_weights="(red:1.3)") == {"sdxl.compel_weights": says}


def test_every_text_that_cannot_be_read_is_refused_at_once() -> None:
    found = refusal(compel_enabled=True, prompt="a (fox", config={"negative_prompt": "fog)"}, compel_weights="(red:9)")
    assert set(found) == {"sdxl.prompt", "sdxl.config.negative_prompt", "sdxl.compel_weights"}
    assert found["sdxl.compel_weights"] == "the weight at character 6 must be 0 to 3, got 9"


def test_while_compel_is_off_marks_are_plain_text_and_the_job_says_so() -> None:
    assert weighed(prompt="a fox :)", config={"negative_prompt": "(fog"})[1] == []
    _, decisions = weighed(prompt="a (red:1.3) fox")
    why = "prompt: weights such as (word:1.3) are plain text while compel is off"
    assert said(decisions) == [("compel_enabled", "false", why)]
    assert decisions[0].notable


def test_videos_have_no_weights() -> None:
    video = from_spec_dict(wan_pb2.WanJob, {"type": "video_fast", "prompt": "a (fox"})
    assert weigh(video, video) == []


def test_a_better_prompt_is_checked_like_one_that_was_sent() -> None:
    check_weights({"prompt": "a (red:1.3) fox"})
    with pytest.raises(InvalidRequest, match="prompt: the \\( at character 3"):
        check_weights({"prompt": "a (fox"})
