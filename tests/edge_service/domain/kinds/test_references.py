"""What a job says of its reference pictures, made whole: pure, without a picture."""

import re

import pytest

from atelier.contracts.errors import InvalidRequest
from atelier.contracts.json_form import from_spec_dict, to_spec_dict
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from edge_service.domain.kinds import kind_of
from tests.kit.decided import decided

COPY, MODIFY = edge_pb2.REFERENCE_USE_EXACT_COPY, edge_pb2.REFERENCE_USE_MODIFY
KEY = "ann/upload_1/image_0.png"
PRESET = {"steps": 25, "guidance_scale": 7.5, "negative_prompt": "blur"}


def resolve(job, asked, use=edge_pb2.REFERENCE_USE_UNSPECIFIED, enhancement=edge_pb2.ENHANCEMENT_UNSPECIFIED):
    """The decisions about what a job says of its references."""
    return decided(kind_of(job).resolve_references, job, asked, use, enhancement)[1]


def steered_image(use=edge_pb2.REFERENCE_USE_UNSPECIFIED, preset=None, config=None, enhancement=0, **metadata):
    """An image job with a reference, as presets left it, and the decisions."""
    plain = {"type": "sdxl_image_fast", "prompt": "a fox", "metadata": {"reference_image_url": KEY, **metadata}}
    asked = from_spec_dict(sdxl_pb2.SdxlJob, {**plain, "config": config or {}})
    job = from_spec_dict(sdxl_pb2.SdxlJob, {**plain, "config": {**PRESET, **(preset or {}), **(config or {})}})
    return job, resolve(job, asked, use, enhancement)


def steered_video(config=None, **metadata):
    plain = {"type": "video_fast", "prompt": "a fox", "metadata": metadata}
    asked = from_spec_dict(wan_pb2.WanJob, {**plain, "config": config or {}})
    job = from_spec_dict(wan_pb2.WanJob, {**plain, "config": {"reference_mode": "none", **(config or {})}})
    return job, resolve(job, asked)


def said(decisions):
    return {decision.field: (getattr(decision, "from"), decision.to) for decision in decisions}


def refusal(call, *arguments, **fields):
    with pytest.raises(InvalidRequest) as refused:
        call(*arguments, **fields)
    return {violation.field: violation.description for violation in refused.value.violations}


def test_a_reference_has_half_its_strength_and_its_composition_unless_told():
    job, decisions = steered_image()
    assert (job.metadata.reference_strength, job.references.denoise) == (0.5, 0.5)
    assert job.metadata.reference_type == sdxl_pb2.REFERENCE_TYPE_COMPOSITION
    assert said(decisions) == {
        "metadata.reference_strength": ("", "0.5"), "metadata.reference_type": ("", "composition"),
        "references.denoise": ("", "0.5"),
    }  # fmt: skip


@pytest.mark.parametrize(("strength", "denoise"), [(0.0, 1.0), (0.3, 0.7), (0.9, 0.1), (0.8, 0.2)])
def test_what_is_not_kept_is_denoised(strength: float, denoise: float):
    job, decisions = steered_image(reference_strength=strength, reference_type="character")
    assert (job.references.denoise, job.metadata.reference_strength) == (denoise, strength)
    assert job.metadata.reference_type == sdxl_pb2.REFERENCE_TYPE_CHARACTER
    assert set(said(decisions)) == {"references.denoise"}


def test_at_least_one_step_is_denoised():
    for steps in range(10, 51):
        for percent in range(99):
            job, _ = steered_image(preset={"steps": steps}, reference_strength=percent / 100)
            assert int(job.config.steps * job.references.denoise) >= 1, (steps, percent)
            assert steps <= job.config.steps <= 50


def test_steps_that_were_raised_are_told():
    _, decisions = steered_image(preset={"steps": 10}, reference_strength=0.95)
    assert said(decisions)["config.steps"] == ("10", "20")


def test_steps_that_the_request_fixed_are_not_changed_but_refused():
    found = refusal(steered_image, config={"steps": 10}, reference_strength=0.95)
    assert found == {
        "sdxl.config.steps": "must be at least 20, or not one would be denoised (0.05 of them are), got 10"
    }
    assert steered_image(config={"steps": 20}, reference_strength=0.95)[0].config.steps == 20


@pytest.mark.parametrize("strength", [1.0, 0.99, 0.981])
def test_a_strength_that_leaves_nothing_to_do_is_refused(strength: float):
    found = refusal(steered_image, reference_strength=strength)
    assert found["sdxl.metadata.reference_strength"].startswith("must be at most 0.98")
    assert found["sdxl.metadata.reference_strength"].endswith(f"got {strength:g}")


def test_an_exact_copy_is_hardly_denoised_not_guided_and_without_a_negative_prompt():
    job, decisions = steered_image(COPY)
    assert (job.references.denoise, job.metadata.reference_strength) == (0.05, 0.95)
    assert (job.config.guidance_scale, job.config.negative_prompt, job.config.steps) == (1.0, "", 25)
    assert job.config.HasField("negative_prompt")
    found = said(decisions)
    assert found["config.guidance_scale"] == ("7.5", "1")
    assert found["config.negative_prompt"] == ("", "")  # the words themselves are content


@pytest.mark.parametrize("steps", [10, 15, 19])
def test_an_exact_copy_of_few_steps_is_given_enough(steps: int):
    job, decisions = steered_image(COPY, preset={"steps": steps})
    assert (job.config.steps, said(decisions)["config.steps"]) == (20, (str(steps), "20"))


def test_a_modification_is_a_little_denoised():
    job, _ = steered_image(MODIFY)
    assert (job.references.denoise, job.metadata.reference_strength) == (0.2, 0.8)
    assert (job.config.guidance_scale, job.config.steps, job.config.negative_prompt) == (6.0, 20, "blur")


@pytest.mark.parametrize(
    ("use", "asked", "field", "says"),
    [
        (COPY, {"config": {"guidance_scale": 7.5}}, "sdxl.config.guidance_scale", "must be 1.0 .*exact_copy, got 7.5"),
        (COPY, {"config": {"negative_prompt": "x"}}, "sdxl.config.negative_prompt", "must be left out"),
        (COPY, {"config": {"steps": 19}}, "sdxl.config.steps", "must be at least 20.*got 19"),
        (COPY, {"reference_strength": 0.5}, "sdxl.metadata.reference_strength", "must be 0.95 .*got 0.5"),
        (COPY, {"enhancement": edge_pb2.ENHANCEMENT_ON}, "enhancement", "must be off"),
        (MODIFY, {"config": {"steps": 25}}, "sdxl.config.steps", "must be 20 .*modify, got 25"),
        (MODIFY, {"config": {"guidance_scale": 6.5}}, "sdxl.config.guidance_scale", "must be 6.0"),
        (MODIFY, {"reference_strength": 0.0}, "sdxl.metadata.reference_strength", "must be 0.8 .*got 0.0"),
    ],
)
def test_a_use_and_a_value_that_contradicts_it_are_refused(use, asked, field, says):
    found = refusal(steered_image, use, **asked)
    assert list(found) == [field]
    assert re.search(says, found[field]), found


def test_values_that_say_the_same_as_the_use_pass():
    asked = {"steps": 20, "guidance_scale": 6.0, "negative_prompt": "blur"}
    steered_image(MODIFY, config=asked, reference_strength=0.8, enhancement=edge_pb2.ENHANCEMENT_ON)
    exact = {"steps": 20, "guidance_scale": 1.0, "negative_prompt": ""}
    steered_image(COPY, config=exact, reference_strength=0.95, enhancement=edge_pb2.ENHANCEMENT_OFF)


@pytest.mark.parametrize(
    ("use", "metadata", "field"),
    [
        (0, {"reference_strength": 0.0}, "sdxl.metadata.reference_strength"),
        (0, {"reference_type": "style"}, "sdxl.metadata.reference_type"),
        (COPY, {}, "reference_use"), (MODIFY, {}, "reference_use"),
    ],
)  # fmt: skip
def test_without_a_picture_nothing_that_steers_one_is_taken(use, metadata, field):
    found = refusal(steered_image, use, reference_image_url="", **metadata)
    assert found == {field: "has no effect without a reference picture"}


def test_without_a_picture_what_a_preset_says_of_one_is_dropped():
    asked = from_spec_dict(sdxl_pb2.SdxlJob, {"type": "sdxl_image_fast", "prompt": "a"})
    job = from_spec_dict(
        sdxl_pb2.SdxlJob, {"type": "sdxl_image_fast", "prompt": "a", "metadata": {"reference_strength": 0.5}}
    )
    assert (resolve(job, asked), job) == ([], asked)


@pytest.mark.parametrize("use", [COPY, MODIFY])
def test_only_images_are_copied(use):
    video = from_spec_dict(wan_pb2.WanJob, {"type": "video_fast", "prompt": "a"})
    assert "reference_use" in refusal(resolve, video, video, use)


@pytest.mark.parametrize(
    ("config", "metadata", "mode", "pictures"),
    [
        ({}, {}, "none", []),
        ({"image": "a/1"}, {}, "single", [("config.image", "a/1", "first")]),
        ({}, {"reference_image_url": "a/1"}, "single", [("metadata.reference_image_url", "a/1", "first")]),
        ({"first_frame": "a/1"}, {}, "start", [("config.first_frame", "a/1", "first")]),
        ({}, {"start_reference_url": "a/1"}, "start", [("metadata.start_reference_url", "a/1", "first")]),
        ({"last_frame": "a/1"}, {}, "end", [("config.last_frame", "a/1", "last")]),
        ({}, {"end_reference_url": "a/1"}, "end", [("metadata.end_reference_url", "a/1", "last")]),
        ({"first_frame": "a/1"}, {"end_reference_url": "a/2"}, "both",
         [("config.first_frame", "a/1", "first"), ("metadata.end_reference_url", "a/2", "last")]),
        ({"first_frame": "a/1"}, {"start_reference_url": "a/2"}, "start", [("config.first_frame", "a/1", "first")]),
    ],
)  # fmt: skip
def test_a_mode_follows_from_the_pictures_and_says_so(config, metadata, mode, pictures):
    for explicit in (False, True):
        given = {**config, "reference_mode": mode} if explicit else config
        job, decisions = steered_video(given, **metadata)
        assert to_spec_dict(job.config)["reference_mode"] == mode
        assert [tuple(picture) for picture in kind_of(job).wanted_references(job)] == pictures
        assert ("config.reference_mode" in said(decisions)) == (not explicit and mode != "none")
        assert job.metadata.HasField("reference_strength") == (mode != "none")


def test_a_fallback_that_nothing_falls_back_to_is_dropped_and_told():
    job, decisions = steered_video({"first_frame": "a/1"}, start_reference_url="a/2", reference_strength=0.7)
    assert said(decisions) == {
        "config.reference_mode": ("none", "start"),
        "metadata.start_reference_url": ("", ""),
    }
    assert job.metadata.reference_strength == 0.7
    assert not job.metadata.start_reference_url


@pytest.mark.parametrize(
    ("config", "metadata", "field"),
    [
        ({"reference_mode": "none", "image": "a/1"}, {}, "wan.config.image"),
        ({"reference_mode": "none"}, {"start_reference_url": "a/1"}, "wan.metadata.start_reference_url"),
        ({"reference_mode": "start", "first_frame": "a/1", "last_frame": "a/2"}, {}, "wan.config.last_frame"),
        ({"reference_mode": "single"}, {}, "wan.config.image"),
        ({"reference_mode": "start"}, {"end_reference_url": "a/1"}, "wan.config.first_frame"),
        ({"reference_mode": "both", "first_frame": "a/1"}, {}, "wan.config.last_frame"),
        ({"image": "a/1", "last_frame": "a/2"}, {}, "wan.config.reference_mode"),
        ({}, {"reference_strength": 0.5}, "wan.metadata.reference_strength"),
    ],
)
def test_a_mode_and_the_pictures_that_contradict_it_are_refused(config, metadata, field):
    assert list(refusal(steered_video, config, **metadata)) == [field]


def test_clients_words_are_cleared_and_keys_are_found():
    job, _ = steered_video({"first_frame": "a/1", "last_frame": "a/2"})
    job.references.first.key = job.references.last.key = KEY
    kind_of(job).clear_reference_addresses(job)
    assert "a/1" not in str(job)
    assert "a/2" not in str(job)
    assert kind_of(job).reference_keys(job) == [KEY]
    image, _ = steered_image()
    assert kind_of(image).reference_keys(image) == []
    image.references.image.CopyFrom(job_pb2.Reference(key=KEY))
    assert kind_of(image).reference_keys(image) == [KEY]
