"""The catalogue as people read it, on a narrow screen."""

import pytest

from atelier.cli.catalogue import drawn
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.worker.v1 import worker_pb2

LONG = "metadata.a_name_that_is_longer_than_half_of_a_screen"


def parameter(**fields: object) -> edge_pb2.Parameter:
    return edge_pb2.Parameter(**fields)  # type: ignore[arg-type]


def shown(*parameters: edge_pb2.Parameter, **entry: object) -> str:
    fields = {"name": "video_fast", "credits": 4, "permitted": True, "available": True} | entry
    job_type = edge_pb2.JobTypeEntry(parameters=parameters, **fields)  # type: ignore[arg-type]
    return drawn(edge_pb2.GetCatalogResponse(job_types=[job_type]))


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_no_name_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"algorithm_number_{number}" for number in range(12)]
    text = shown(parameter(field=LONG, type="enum", choices=words, default='"algorithm_number_0"'))
    assert LONG in text
    assert "".join(text.split()).count("algorithm_number_") == len(words) + 1
    assert "…" not in text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "string", "minimum": 1, "maximum": 1000}, "1 to 1000 characters"),
        ({"type": "string", "maximum": 1000}, "at most 1000 characters"),
        ({"type": "list", "maximum": 6}, "at most 6 items"),
        ({"type": "uint32", "maximum": 2147483647}, "0 to 2147483647"),
        ({"type": "double", "minimum": 0.1, "maximum": 20}, "0.1 to 20"),
        ({"type": "double", "minimum": 0.1}, "at least 0.1"),
        ({"type": "bool"}, "true false"),
        ({"type": "uint32", "choices": ["1", "3", "6"]}, "1 3 6"),
        (
            {"type": "uint32", "minimum": 64, "maximum": 992, "min_side": 64, "max_pixels": 9216},
            "64 to 992, width x height at most 9216 pixels",
        ),
        (
            {"type": "string", "maximum": 9, "min_side": 64, "multiple_of": 8},
            "at most 9 characters, sides at least 64, multiples of 8",
        ),
        ({"type": "bool", "available": False}, "true false, no connected model can use it"),
        ({"type": "bool", "available": True}, "true false"),
        ({"type": "string", "maximum": 9, "pattern": "^[0-9]+$"}, 'at most 9 characters, like "^[0-9]+$"'),
    ],
)
def test_what_is_allowed_has_its_unit(fields: dict[str, object], said: str) -> None:
    assert shown(parameter(field="x", **fields)).splitlines()[-1].split(maxsplit=1) == ["x", said]


def test_a_job_type_says_its_price_and_whether_one_may_have_it() -> None:
    assert shown().startswith("video_fast (ready, 4 credits)")
    assert shown(available=False, permitted=False, enhanced=True, credits=1).startswith(
        "video_fast (no worker connected, 1 credit, enhances its prompt, not for you)"
    )


def test_everything_that_is_chosen_by_name_is_shown() -> None:
    text = drawn(
        edge_pb2.GetCatalogResponse(
            presets=[edge_pb2.PresetEntry(name="sdxl_draft", worker_type="sdxl", description="A quick look")],
            aspect_ratios=[
                edge_pb2.AspectRatioEntry(name="1:1", worker_type="sdxl", width=1024, height=1024),
                edge_pb2.AspectRatioEntry(name="1:1", worker_type="wan", width=624, height=624),
            ],
            qualities=[edge_pb2.WordsEntry(name="high", description="Sharp [and] detailed")],
            styles=[edge_pb2.WordsEntry(name="photo", description="Like a photograph")],
            chat_contexts=[edge_pb2.WordsEntry(name="conversation", description="Talks")],
            content_modes=[edge_pb2.CONTENT_MODE_SFW, edge_pb2.CONTENT_MODE_NSFW],
            models=[worker_pb2.Model(name="wan_2.1", real_name="small", capabilities=["text_to_video"])],
            policy_version="abc123",
        )
    )
    assert text == (
        "presets\n  sdxl_draft  sdxl  A quick look\n\n"
        "aspect ratios\n  1:1  sdxl 1024x1024, wan 624x624\n\n"
        "qualities\n  high  Sharp [and] detailed\n\n"
        "styles\n  photo  Like a photograph\n\n"
        "content modes\n  sfw nsfw\n\n"
        "contexts of chat\n  conversation  Talks\n\n"
        "models\n  wan_2.1  small  text_to_video\n\n"
        "policies: version abc123"
    )
