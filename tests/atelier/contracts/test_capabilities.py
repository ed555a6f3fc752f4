"""Which abilities a job needs, and the field that asks for each."""

from typing import Any

import pytest

from atelier.contracts.capabilities import needed_by_image, needed_by_video
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2

URL = "https://example.com/fox.png"
TYPE, ADDRESS = "metadata.reference_type", "metadata.reference_image_url"


@pytest.mark.parametrize(
    ("job", "needed"),
    [
        ({}, []),
        ({"compel_enabled": True, "compel_weights": "(fox)1.2"}, [("compel", "compel_enabled")]),
        ({"compel_weights": "(fox)1.2"}, [("compel", "compel_weights")]),
        ({"metadata": {"reference_type": "style"}}, [("reference_style", TYPE)]),
        ({"metadata": {"reference_image_url": URL}}, [("reference_composition", ADDRESS)]),
        (
            {"metadata": {"reference_image_url": URL, "reference_type": "composition"}},
            [("reference_composition", ADDRESS)],
        ),
        ({"metadata": {"reference_image_url": URL, "reference_type": "character"}}, [("reference_character", TYPE)]),
    ],
)
def test_an_image_needs_what_its_fields_ask_for(job: dict[str, Any], needed: list[tuple[str, str]]) -> None:
    assert needed_by_image(from_spec_dict(sdxl_pb2.SdxlJob, job)) == needed


def test_a_picture_that_the_edge_has_stored_is_named_as_such() -> None:
    job = sdxl_pb2.SdxlJob()
    job.references.image.key = "a/b.png"
    assert needed_by_image(job) == [("reference_composition", "references.image")]


@pytest.mark.parametrize("mode", ["single", "start", "end", "both"])
def test_a_video_needs_its_reference_mode(mode: str) -> None:
    job = from_spec_dict(wan_pb2.WanJob, {"config": {"reference_mode": mode}})
    assert needed_by_video(job) == [(f"reference_{mode}", "config.reference_mode")]


@pytest.mark.parametrize("config", [{}, {"reference_mode": "none"}])
def test_a_video_without_a_mode_needs_nothing(config: dict[str, str]) -> None:
    assert needed_by_video(from_spec_dict(wan_pb2.WanJob, {"config": config})) == []
