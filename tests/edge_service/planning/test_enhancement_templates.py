"""What the table of templates takes, and that one mode's is never used for the other."""

from typing import Any

import pytest
from pydantic import ValidationError

from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.content_mode import mode_word
from edge_service.domain.job_types import job_types
from edge_service.domain.kinds import KINDS
from edge_service.planning.enhancement_templates import SLOT, Enhancement, enhancement
from tests.kit.policy_tables import data, without

SFW, NSFW = edge_pb2.CONTENT_MODE_SFW, edge_pb2.CONTENT_MODE_NSFW
ENHANCEABLE = [(name, entry.worker_type) for name, entry in job_types().items() if KINDS[entry.worker_type].enhanced_by]


@pytest.mark.parametrize(("type_name", "worker_type"), ENHANCEABLE)
def test_every_job_type_has_a_template_in_both_modes_and_they_differ(type_name: str, worker_type: str) -> None:
    safe, adult = (enhancement().template(KINDS[worker_type].enhanced_by, type_name, mode) for mode in (SFW, NSFW))
    assert safe
    assert adult
    assert safe.text != adult.text
    assert "safe for work" in safe.text
    assert "adult" in adult.text


def test_a_missing_template_is_not_that_of_the_other_mode() -> None:
    table = without("qwen_instruct", "sdxl_image_fast", "sfw")
    assert table.template("qwen_instruct", "sdxl_image_fast", SFW) is None
    assert table.template("qwen_instruct", "sdxl_image_fast", NSFW)
    table = without("qwen_base", "video_fast", "nsfw")
    assert table.template("qwen_base", "video_fast", NSFW) is None
    assert table.template("qwen_base", "video_fast", SFW)


def test_a_mode_that_nobody_named_is_safe_for_work() -> None:
    assert mode_word(edge_pb2.CONTENT_MODE_UNSPECIFIED) == "sfw"
    unspecified = enhancement().template("qwen_base", "video_fast", edge_pb2.CONTENT_MODE_UNSPECIFIED)
    assert unspecified == enhancement().template("qwen_base", "video_fast", SFW)


def instruction(**changes: Any) -> dict[str, Any]:
    return {"system": "Rewrite.", "user": SLOT, **changes}


@pytest.mark.parametrize(
    ("model", "type_name", "modes", "message"),
    [
        ("qwen_instruct", "sdxl_image_fast", {"sfw": instruction(user="no slot")}, "exactly once"),
        ("qwen_instruct", "sdxl_image_fast", {"sfw": instruction(user=SLOT * 2)}, "exactly once"),
        ("qwen_instruct", "sdxl_image_fast", {"sfw": instruction(user=f"{SLOT} {{style}}")}, "nothing else in braces"),
        ("qwen_instruct", "sdxl_image_fast", {"sfw": instruction(system="")}, "at least 1 character"),
        ("qwen_instruct", "sdxl_image_fast", {"sfw": instruction(tone="kind")}, "Extra inputs"),
        ("qwen_instruct", "sdxl_image_fast", {"any": instruction()}, "'sfw' or 'nsfw'"),
        ("qwen_instruct", "sdxl_image_fast", {"sfw": {"text": SLOT}}, "Field required"),
        ("qwen_instruct", "sdxl_image_fast", {"sfw": instruction(), "nsfw": instruction()}, "content mode"),
        ("qwen_instruct", "video_fast", {"sfw": instruction()}, "must name job types of sdxl_image_fast"),
        ("qwen_instruct", "sdxl_image_slow", {"sfw": instruction()}, "got 'sdxl_image_slow'"),
        ("qwen_base", "sdxl_image_fast", {"sfw": {"text": SLOT}}, "must name job types of image_fast"),
        ("qwen_base", "video_fast", {"sfw": {"text": f"{SLOT}: "}}, "must not end with a space"),
        ("qwen_base", "video_fast", {"sfw": {"text": f"{SLOT}:\n"}}, "an empty line"),
    ],
)
def test_a_mistake_in_a_template_is_refused(model: str, type_name: str, modes: Any, message: str) -> None:
    changed = data("enhancement")
    changed[model][type_name] = modes
    with pytest.raises(ValidationError, match=message):
        Enhancement.model_validate(changed)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seconds", 0), ("seconds", 61), ("share", 0), ("share", 1.1), ("waiting", -1), ("max_tokens", 99),
        ("temperature", 2.1), ("top_p", 1.1), ("max_characters", 1001), ("refusals", ["..."]), ("talk", [""]),
        ("surprise", 1),
    ],
)  # fmt: skip
def test_a_value_out_of_its_bounds_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        Enhancement.model_validate({**data("enhancement"), field: value})


def test_a_template_of_one_job_type_is_not_the_other_modes_of_another() -> None:
    changed = data("enhancement")
    changed["qwen_base"]["video_fast"]["sfw"] = changed["qwen_base"]["image_fast"]["nsfw"]
    with pytest.raises(ValidationError, match="must not be that of the other"):
        Enhancement.model_validate(changed)


AWKWARD = "a {prompt} of\n  {style} \\1 fox"


def test_a_prompt_stands_in_an_instruction_as_it_is() -> None:
    template = enhancement().template("qwen_instruct", "sdxl_image_fast", SFW)
    assert template
    system, user = template.messages(AWKWARD)
    assert AWKWARD in user.content
    assert AWKWARD not in system.content
    assert SLOT not in user.content.replace(AWKWARD, "")


def test_a_prompt_stands_on_one_line_of_a_text_that_goes_on() -> None:
    template = enhancement().template("qwen_base", "video_fast", SFW)
    assert template
    (message,) = template.messages("a fox\n\nShort: a wolf\nDetailed: A wolf.")
    assert message.content.endswith("\nShort: a fox Short: a wolf Detailed: A wolf.\nDetailed:")


CIRCLE = "a fox in snow, the camera is moving slowly forward, snow falls, "


@pytest.mark.parametrize(
    ("said", "answer", "enough"),
    [
        (" A fox\n", "A fox", True),
        (" A fox\n\nShort: a wolf", "A fox", True),
        ("\n A fox", "A fox", False),
        (" A fox", "A fox", False),
        (f" {CIRCLE}the camera is moving slowly", CIRCLE + "the camera is moving slowly", False),
        (f" {CIRCLE}The camera is moving slowly forward", CIRCLE.rstrip(", "), True),
        (f" {CIRCLE}snow, {CIRCLE}", f"{CIRCLE}snow", True),
        (f" {CIRCLE}while the camera is moving slowly forward", CIRCLE.rstrip(", "), True),
        (" one two three four five six" * 2, "", True),
    ],
)
def test_a_text_that_goes_on_ends_with_its_line_or_where_it_turns_in_circles(
    said: str, answer: str, enough: bool
) -> None:
    template = enhancement().template("qwen_base", "video_fast", SFW)
    assert template
    assert (template.answer(said), template.enough(said)) == (answer, enough)
