"""Every field of a job reaches the plan, from a request and from a preset. A new field without a sample here fails."""

from typing import Any, cast

import pytest
from google.protobuf.descriptor import Descriptor

from atelier.contracts.json_form import from_spec_dict, to_spec_dict
from atelier.contracts.validation import rules
from edge_service.domain.kinds import KINDS
from edge_service.domain.partial_job import EDGE_SETS, REQUEST_SETS
from edge_service.planning.defaults import NO_PARAMETERS, REFERENCES
from edge_service.planning.presets import Choices, Chosen, Preset, choices
from tests.kit.decided import filled_job as fill

ABOUT: dict[str, dict[str, Any]] = {
    "sdxl": {"type": "sdxl_image_fast", "prompt": "a fox"},
    "wan": {"type": "video_fast", "prompt": "a fox"},
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
}
# A value of each that is not the default of the type above.
SAMPLES: dict[str, dict[str, Any]] = {
    "sdxl": {
        "config.num_images": 3,
        "config.steps": 49,
        "config.guidance_scale": 1.0,
        "config.resolution": "512x640",
        "config.seed": 0,
        "config.negative_prompt": "blur",
        "metadata.reference_image_url": "https://example.com/a.png",
        "metadata.reference_strength": 0.0,
        "metadata.reference_type": "style",
        "compel_enabled": True,
        "compel_weights": "(red:1.3)",
        "sampling.scheduler": "ddim",
        "sampling.clip_skip": 2,
        "sampling.seeds": [9],
    },
    "wan": {
        "config.width": 640,
        "config.height": 640,
        "config.frames": 1,
        "config.fps": 8,
        "config.reference_mode": "single",
        "config.image": "https://example.com/a.png",
        "config.first_frame": "https://example.com/b.png",
        "config.last_frame": "https://example.com/c.png",
        "metadata.reference_image_url": "https://example.com/d.png",
        "metadata.start_reference_url": "https://example.com/e.png",
        "metadata.end_reference_url": "https://example.com/f.png",
        "metadata.reference_strength": 0.0,
        "sampling.steps": 1,
        "sampling.guidance_scale": 1.0,
        "sampling.flow_shift": 0.1,
        "sampling.seed": 0,
        "sampling.negative_prompt": "blur",
    },
    "chat": {"max_tokens": 100, "temperature": 0.0, "top_p": 0.0, "model": "qwen_base", "sfw_mode": True},
}
CASES = [(worker_type, field) for worker_type, samples in SAMPLES.items() for field in samples]
PRESET_CASES = [case for case in CASES if case[1] not in REQUEST_SETS]
both_sides = {"config.width": "config.height", "config.height": "config.width"}


def nested(worker_type: str, field: str) -> dict[str, Any]:
    """A partial job with one sample; of a size both sides."""
    values: dict[str, Any] = {}
    for each in filter(None, (field, both_sides.get(field))):
        *parts, name = each.split(".")
        inner = values
        for part in parts:
            inner = inner.setdefault(part, {})
        inner[name] = SAMPLES[worker_type][each]
    return values


def value(plain: dict[str, Any], field: str) -> Any:
    found: Any = plain
    for part in field.split("."):
        found = found[part]
    return found


def why(filled: Any, field: str) -> str:
    return next(each.why for each in filled.decisions if each.field == field)


@pytest.mark.parametrize("worker_type", KINDS)
def test_there_is_a_sample_of_every_field_that_a_request_may_set(worker_type: str) -> None:
    known = {rule.field for rule in rules(cast(Descriptor, KINDS[worker_type].job_class.DESCRIPTOR))}
    settable = {field for field in known if field.partition(".")[0] not in {*EDGE_SETS, *NO_PARAMETERS}}
    assert set(SAMPLES[worker_type]) == settable


@pytest.mark.parametrize(("worker_type", "field"), CASES)
def test_a_field_of_the_request_reaches_the_plan(worker_type: str, field: str) -> None:
    job = from_spec_dict(KINDS[worker_type].job_class, ABOUT[worker_type] | nested(worker_type, field))
    filled, without = fill(job), fill(from_spec_dict(KINDS[worker_type].job_class, ABOUT[worker_type]))
    assert value(to_spec_dict(filled.job), field) == SAMPLES[worker_type][field]
    if field in REFERENCES:  # told by references.py, without what may be secret in an address
        assert field not in (each.field for each in filled.decisions)
    else:
        assert why(filled, field) == "request"
    assert field not in (each.field for each in without.decisions if each.why == "request")


@pytest.mark.parametrize(("worker_type", "field"), PRESET_CASES)
def test_a_field_of_a_preset_reaches_the_plan(worker_type: str, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = Preset(worker_type=worker_type, description="a sample", values=nested(worker_type, field))
    table = choices().model_copy(update={"presets": {"sample": preset}})
    assert isinstance(table, Choices)
    monkeypatch.setattr("edge_service.planning.defaults.choices", lambda: table)
    filled = fill(from_spec_dict(KINDS[worker_type].job_class, ABOUT[worker_type]), Chosen(preset="sample"))
    assert value(to_spec_dict(filled.job), field) == SAMPLES[worker_type][field]
    assert why(filled, field) == "preset sample"


@pytest.mark.parametrize(("worker_type", "field"), [case for case in CASES if case not in PRESET_CASES])
def test_what_only_a_request_can_fill_is_refused_in_a_preset(worker_type: str, field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} cannot be filled by a policy"):
        Preset(worker_type=worker_type, description="a sample", values=nested(worker_type, field))
