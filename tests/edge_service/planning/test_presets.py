"""Presets, aspect ratios, qualities and styles of a request: which value wins, what is refused, where each is from."""

from typing import Any

import pytest

from atelier.contracts.errors import InvalidRequest
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from edge_service.domain.plan import Plan
from edge_service.planning.presets import Chosen, Size, choices
from edge_service.planning.token_budget import NOT_COUNTED
from tests.kit.decided import filled_job as fill
from tests.kit.planned import planned as planned_job

SDXL: dict[str, Any] = {"type": "sdxl_image_high", "prompt": "a fox"}
WAN: dict[str, Any] = {"type": "video_fast", "prompt": "a fox"}


def planned(**request: Any) -> Plan:
    """The plan of a request in the specification's JSON."""
    return planned_job(from_spec_dict(edge_pb2.SubmitJobRequest, request))


def origins(plan: Plan, field: str) -> list[tuple[str, str, str]]:
    """(from, to, why) of every decision about a field, in order."""
    return [(getattr(each, "from"), each.to, each.why) for each in plan.record.decisions if each.field == field]


def refusal(**request: Any) -> str:
    with pytest.raises(InvalidRequest) as refused:
        planned(**request)
    return refused.value.message


def test_a_preset_of_the_operator_fills_what_the_request_leaves_out() -> None:
    plan = planned(sdxl=SDXL | {"config": {"steps": 20}}, preset="sdxl_draft")
    assert (plan.job.config.steps, plan.job.config.resolution, plan.job.config.guidance_scale) == (20, "768x768", 5.0)
    assert origins(plan, "config.steps") == [("20", "20", "request")]
    assert origins(plan, "config.resolution") == [("", "768x768", "preset sdxl_draft")]
    assert origins(plan, "sampling.scheduler") == [("", "euler", "default of sdxl_image_high")]


def test_zero_in_the_request_wins_over_a_preset() -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}], "temperature": 0, "sfw_mode": False}
    plan = planned(chat=chat, preset="chat_lively")
    assert (plan.job.temperature, plan.job.top_p) == (0.0, 0.95)
    assert origins(plan, "temperature") == [("0.0", "0.0", "request")]
    assert origins(plan, "sfw_mode")[0] == ("false", "false", "request")


def test_zero_in_a_preset_wins_over_the_job_type() -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    assert planned(chat=chat, preset="chat_exact").job.temperature == 0.0


def test_what_a_request_is_about_is_no_parameter_and_has_no_origin() -> None:
    decided = [each for each in planned(sdxl=SDXL).record.decisions if each.why != NOT_COUNTED]
    assert not {each.field for each in decided} & {"type", "prompt", "id", "user_id"}


def test_every_parameter_of_a_plan_has_exactly_one_origin() -> None:
    plan = planned(sdxl=SDXL | {"config": {"steps": 20}, "compel_enabled": False}, preset="sdxl_draft")
    said_besides = ("content_mode", "prompt")
    fields = [each.field for each in plan.record.decisions if each.field not in said_besides]
    assert len(fields) == len(set(fields))
    assert set(fields) == {
        *(f"config.{name}" for name in sdxl_pb2.SdxlConfig.DESCRIPTOR.fields_by_name),
        *(f"sampling.{name}" for name in sdxl_pb2.SdxlSampling.DESCRIPTOR.fields_by_name),
        *("compel_enabled", "enhancement", "deadline", "priority"),
    }


def test_a_preset_that_would_make_a_job_break_a_rule_is_refused() -> None:
    still = {"type": "image_fast", "prompt": "a fox"}
    assert refusal(wan=still, preset="wan_short_clip") == (
        "preset: wan_short_clip does not fit a job of type image_fast:"
        " config.frames: an image job has exactly 1 frame; use a video job type for more"
    )


@pytest.mark.parametrize("ratio", choices().sizes("sdxl"))
def test_an_aspect_ratio_sets_the_size_of_images(ratio: str) -> None:
    plan = planned(sdxl=SDXL, aspect_ratio=ratio, preset="sdxl_draft")  # which has a size of its own
    assert plan.job.config.resolution == choices().aspect_ratios["sdxl"][ratio]
    assert origins(plan, "config.resolution") == [("", plan.job.config.resolution, f"aspect ratio {ratio}")]


@pytest.mark.parametrize("ratio", choices().sizes("wan"))
def test_an_aspect_ratio_sets_the_size_of_videos(ratio: str) -> None:
    plan = planned(wan=WAN, aspect_ratio=ratio)
    size = choices().sizes("wan")[ratio]
    assert (plan.job.config.width, plan.job.config.height) == size
    assert origins(plan, "config.width") == [("", str(size.width), f"aspect ratio {ratio}")]


def test_the_sizes_are_such_as_the_models_were_trained_on() -> None:
    sdxl, wan = choices().sizes("sdxl"), choices().sizes("wan")
    assert sdxl["16:9"] == Size(1344, 768)
    assert wan["9:16"] == Size(480, 832)
    assert [size for size in sdxl.values() if size.width % 64 or size.height % 64] == []
    assert [size for size in wan.values() if size.width % 16 or size.height % 16] == []
    assert [size for size in wan.values() if size.width * size.height > 480 * 832] == []


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"sdxl": SDXL | {"config": {"resolution": "512x512"}}}, "sdxl.config.resolution"),
        ({"wan": WAN | {"config": {"width": 480}}}, "wan.config.width"),
        ({"wan": WAN | {"config": {"width": 480, "height": 480}}}, "wan.config.width, wan.config.height"),
    ],
)
def test_a_size_and_an_aspect_ratio_together_are_refused_naming_both(request_: dict[str, Any], named: str) -> None:
    said = refusal(aspect_ratio="16:9", **request_)
    assert said == f"aspect_ratio: sets the size, and so does {named}: leave one of them out, got '16:9'"


def test_words_are_added_style_first_and_say_so() -> None:
    plan = planned(sdxl=SDXL | {"config": {"negative_prompt": "dogs"}}, style="photo", quality="high")
    assert plan.job.prompt == "a photograph of a fox, natural light, 35mm, sharp focus, highly detailed"
    assert plan.job.config.negative_prompt.startswith("dogs, drawing, painting, render, blurry, low quality")
    [first, second, _] = origins(plan, "prompt")
    assert first == ("a fox", "a photograph of a fox, natural light, 35mm", "style photo")
    assert second == (first[1], plan.job.prompt, "quality high")
    assert [why for _, _, why in origins(plan, "config.negative_prompt")] == ["request", "style photo", "quality high"]


def test_words_are_added_to_videos() -> None:
    plan = planned(wan=WAN, style="cinematic")
    assert plan.job.prompt.startswith("a fox, cinematic still")
    assert plan.job.sampling.negative_prompt == "drawing, cartoon"
    assert origins(plan, "sampling.negative_prompt")[-1] == ("", "drawing, cartoon", "style cinematic")


def test_a_quality_may_add_to_the_negative_prompt_alone() -> None:
    plan = planned(sdxl=SDXL, quality="plain")
    assert plan.job.prompt == "a fox"
    assert [why for _, _, why in origins(plan, "prompt")] == [NOT_COUNTED]
    assert plan.job.config.negative_prompt == "blurry, low quality, watermark, text"


def test_braces_of_a_prompt_are_text() -> None:
    plan = planned(sdxl=SDXL | {"prompt": "{prompt} {0} {x}"}, style="photo")
    assert plan.job.prompt == "a photograph of {prompt} {0} {x}, natural light, 35mm"


@pytest.mark.parametrize(
    ("length", "fits"), [(1000 - len("a photograph of , natural light, 35mm"), True), (964, False)]
)
def test_words_must_leave_the_prompt_within_its_bound(length: int, fits: bool) -> None:
    request = {"sdxl": SDXL | {"prompt": "y" * length}, "style": "photo"}
    if fits:
        assert len(planned(**request).job.prompt) == 1000
    else:
        assert (
            refusal(**request) == "sdxl.prompt: must be at most 1000 characters with the words of style photo, got 1001"
        )


def test_words_must_leave_the_negative_prompt_within_its_bound() -> None:
    wan = WAN | {"sampling": {"negative_prompt": "y" * 990}}
    assert refusal(wan=wan, style="cinematic") == (
        "wan.sampling.negative_prompt: must be at most 1000 characters with the words of style cinematic, got 1008"
    )


@pytest.mark.parametrize("field", ["aspect_ratio", "quality", "style"])
def test_a_name_nobody_knows_is_refused_with_those_there_are(field: str) -> None:
    name = "5:4" if field == "aspect_ratio" else "nonsense"
    said = refusal(sdxl=SDXL, **{field: name})
    table = choices()
    known = {"aspect_ratio": table.sizes("sdxl"), "quality": table.qualities, "style": table.styles}[field]
    assert said == f"{field}: must be one of {', '.join(sorted(known))}, got '{name}'"


def test_a_ratio_that_only_another_worker_has_is_refused() -> None:
    assert refusal(wan=WAN, aspect_ratio="21:9").startswith("aspect_ratio: must be one of 16:9, 1:1")


@pytest.mark.parametrize(("field", "name"), [("aspect_ratio", "1:1"), ("quality", "high"), ("style", "photo")])
def test_what_has_no_effect_on_chat_is_refused_there(field: str, name: str) -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    said = refusal(chat=chat, **{field: name})
    assert said.startswith(f"{field}: a chat request has no ")
    assert f"got '{name}'" in said


@pytest.mark.parametrize("name", choices().presets)
def test_every_preset_changes_something(name: str) -> None:
    preset = choices().presets[name]
    about = {"sdxl": SDXL, "wan": WAN, "chat": {"messages": [{"role": "user", "content": "hi"}]}}[preset.worker_type]
    classes = {"sdxl": sdxl_pb2.SdxlJob, "wan": wan_pb2.WanJob, "chat": chat_pb2.ChatRequest}
    job = from_spec_dict(classes[preset.worker_type], about)
    with_it, without = fill(job, Chosen(preset=name)).decisions, fill(job).decisions
    assert {each.field for each in with_it if each.why == f"preset {name}"}
    assert {(each.field, each.to) for each in with_it} != {(each.field, each.to) for each in without}
