"""The specification's JSON, both ways; its own examples are in spec_examples/."""

import json
from pathlib import Path
from typing import Any

import pytest

from atelier.contracts.errors import InvalidRequest
from atelier.contracts.json_form import from_spec_dict, from_spec_json, to_spec_dict, to_spec_json
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from shared import validation

EXAMPLES = Path(__file__).parent / "spec_examples"
MESSAGES = {
    "sdxl_job": sdxl_pb2.SdxlJob,
    "sdxl_callback": sdxl_pb2.SdxlCallback,
    "chat_request": chat_pb2.ChatRequest,
    "chat_callback": chat_pb2.ChatCallback,
    "wan_job": wan_pb2.WanJob,
    "wan_callback": wan_pb2.WanCallback,
}


def example(name: str) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text())
    return plain


def refusal(cls: type, plain: Any) -> tuple[str, str]:
    """The field and description of the one violation that parsing ends with."""
    with pytest.raises(InvalidRequest) as raised:
        from_spec_dict(cls, plain)
    [violation] = raised.value.violations
    return violation.field, violation.description


def test_every_example_has_a_message() -> None:
    assert {path.stem for path in EXAMPLES.iterdir()} == set(MESSAGES)


@pytest.mark.parametrize("name", MESSAGES)
def test_an_example_of_the_specification_is_valid_and_comes_back_equal(name: str) -> None:
    message = from_spec_json(MESSAGES[name], (EXAMPLES / f"{name}.json").read_bytes())
    validation.check(message)
    assert json.loads(to_spec_json(message)) == example(name)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_of_the_specification_is_in_its_example(name: str) -> None:
    def named(descriptor: Any, plain: dict[str, Any]) -> set[str]:
        specified = {field.name for field in descriptor.fields if field.number < 100}
        inner = (plain.get(f.name) for f in descriptor.fields if f.message_type and f.number < 100)
        first = [value[0] if isinstance(value, list) else value for value in inner]
        fields = [f for f in descriptor.fields if f.message_type and f.number < 100]
        return (specified - set(plain)).union(*(named(f.message_type, v) for f, v in zip(fields, first, strict=True)))

    assert named(MESSAGES[name].DESCRIPTOR, example(name)) == set()


@pytest.mark.parametrize("type_word", ["sdxl_image_fast", "sdxl_image_high"])
def test_every_image_type_of_the_specification_is_a_word(type_word: str) -> None:
    plain = example("sdxl_job") | {"type": type_word}
    assert to_spec_dict(from_spec_dict(sdxl_pb2.SdxlJob, plain)) == plain


@pytest.mark.parametrize(
    "type_word",
    [
        "image_fast", "image_high", "video_fast", "video_high", "image7b_fast_enhanced", "image7b_high_enhanced",
        "video7b_fast_enhanced", "video7b_high_enhanced",
    ],
)  # fmt: skip
def test_every_video_type_of_the_specification_is_a_word(type_word: str) -> None:
    plain = example("wan_job") | {"type": type_word}
    assert to_spec_dict(from_spec_dict(wan_pb2.WanJob, plain)) == plain


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("sdxl_job/metadata/reference_type", "style composition character"),
        ("sdxl_callback/status", "completed failed processing"),
        ("sdxl_callback/metadata/enhancement_source", "qwen_instruct none"),
        ("sdxl_callback/metadata/reference_mode", "none style composition character"),
        ("chat_request/model", "qwen_instruct qwen_base"),
        ("chat_callback/metadata/enhancement_type", "base instruct none"),
        ("wan_job/config/reference_mode", "none single start end both"),
        ("wan_callback/metadata/enhancement_source", "qwen_base none"),
    ],
)
def test_every_word_of_a_closed_set_comes_back(path: str, words: str) -> None:
    name, *parents, field = path.split("/")
    for word in words.split():
        plain = example(name)
        inner = plain
        for parent in parents:
            inner = inner[parent]
        inner[field] = word
        message = from_spec_dict(MESSAGES[name], plain)
        validation.check(message)
        assert to_spec_dict(message) == plain


def test_an_unknown_field_is_refused_by_name() -> None:
    field, description = refusal(sdxl_pb2.SdxlJob, example("sdxl_job") | {"stepz": 1})
    assert field == "stepz"
    assert description.startswith("unknown field; known: id, type, prompt")


def test_an_unknown_field_inside_is_refused_by_its_path() -> None:
    plain = {"assets": [{"metadata": {}}, {"metadata": {"widht": 1}}]}
    assert refusal(sdxl_pb2.SdxlCallback, plain)[0] == "assets[1].metadata.widht"


@pytest.mark.parametrize("word", ["sdxl_image_medium", "SDXL_IMAGE_FAST", "unspecified", "", 1, None, ["style"]])
def test_an_unknown_word_is_refused_with_the_known_ones(word: object) -> None:
    if word is None:  # null means absent, so the rules refuse it and not the parser
        with pytest.raises(InvalidRequest, match="type"):
            validation.check(from_spec_dict(sdxl_pb2.SdxlJob, {"type": None, "prompt": "x"}))
        return
    field, description = refusal(sdxl_pb2.SdxlJob, {"type": word})
    assert field == "type"
    assert description.endswith("known: sdxl_image_fast, sdxl_image_high")


@pytest.mark.parametrize(
    ("config", "field", "says"),
    [
        ({"steps": "25"}, "config.steps", "must be a number|must be a whole number"),
        ({"steps": 25.5}, "config.steps", "must be a whole number, got 25.5"),
        ({"steps": -1}, "config.steps", "must be 10 to 50, got -1"),
        ({"seed": -1}, "config.seed", "must be 0 to 2147483647, got -1"),
        ({"seed": 2**32}, "config.seed", "must be 0 to 2147483647, got 4294967296"),
        ({"steps": 2**32}, "config.steps", "got 4294967296"),
        ({"steps": True}, "config.steps", "got true or false"),
        ({"guidance_scale": "7"}, "config.guidance_scale", "must be a number, got text"),
        ({"resolution": 1024}, "config.resolution", "must be text, got a number"),
        ({"negative_prompt": "\ud800"}, "config.negative_prompt", "not valid Unicode"),
        ([], "config", "must be an object, got a list"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_path(config: object, field: str, says: str) -> None:
    found, description = refusal(sdxl_pb2.SdxlJob, {"config": config})
    assert found == field
    assert any(part in description for part in says.split("|"))


def test_a_whole_number_written_with_a_point_is_that_number() -> None:
    assert from_spec_json(sdxl_pb2.SdxlJob, '{"config": {"steps": 25.0}}').config.steps == 25


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", '"x"', '{"prompt": NaN}', '{"config": {"guidance_scale": Infinity}}', b"\xff\xfe{",
        "[" * 9999, '{"prompt": "a", "prompt": "b"}', '{"config": {"guidance_scale": 1e999}}',
        '{"config": {"steps": 1e999}}', '{"\\ud800": 1}', '{"a\\u0000": 1}',
    ],
)  # fmt: skip
def test_what_is_no_object_of_plain_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidRequest):
        validation.check(from_spec_json(sdxl_pb2.SdxlJob, text))


@pytest.mark.parametrize("field", ["seed", "reference_strength"])
def test_zero_is_a_value_and_absence_is_absence(field: str) -> None:
    part = "config" if field == "seed" else "metadata"
    given = from_spec_dict(sdxl_pb2.SdxlJob, {part: {field: 0}})
    assert getattr(given, part).HasField(field)
    assert to_spec_dict(given) == {part: {field: 0}}
    assert to_spec_dict(from_spec_dict(sdxl_pb2.SdxlJob, {part: {}})) == {part: {}}


def test_text_in_any_script_comes_back_unchanged() -> None:
    prompt = '灯台 🗼 \u202eabc \u0000 "quotes" \\ \n'
    message = from_spec_json(sdxl_pb2.SdxlJob, json.dumps({"prompt": prompt}))
    assert message.prompt == prompt
    assert json.loads(to_spec_json(message))["prompt"] == prompt
