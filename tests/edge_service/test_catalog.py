"""The catalogue has all that a frontend needs to draw its forms."""

import json
from typing import cast

import grpc
from google.protobuf.descriptor import Descriptor

from edge_service.catalog import catalog
from edge_service.fleet import Fleet
from edge_service.intake.job_types import JOB_CLASSES, TYPE_NAMES, job_types
from edge_service.intake.presets.choices import choices
from edge_service.policy import current
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.validation_schemas import rules
from tests.edge_service.conftest import Calls


def test_every_job_type_is_listed_with_its_price_and_what_it_does() -> None:
    entries = {entry.name: entry for entry in catalog(Fleet([])).job_types}
    assert set(entries) == set(TYPE_NAMES)
    assert entries["video7b_fast_enhanced"].enhanced
    assert not entries["video_fast"].enhanced
    assert {name: entry.credits for name, entry in entries.items()} == {
        name: entry.credits for name, entry in job_types().items()
    }


def test_a_parameter_has_the_bounds_of_the_protos_and_the_default_of_the_type() -> None:
    entries = {entry.name: entry for entry in catalog(Fleet([])).job_types}
    steps = {each.field: each for each in entries["sdxl_image_high"].parameters}["config.steps"]
    assert (steps.type, steps.default, steps.minimum, steps.maximum) == ("uint32", "25", 10, 50)
    prompt = {each.field: each for each in entries["video_fast"].parameters}["prompt"]
    assert (prompt.type, prompt.default, prompt.minimum, prompt.maximum) == ("string", "", 1, 1000)


def test_parameters_are_all_that_a_request_may_set_and_nothing_else() -> None:
    for entry in catalog(Fleet([])).job_types:
        known = {rule.field for rule in rules(cast(Descriptor, JOB_CLASSES[entry.worker_type].DESCRIPTOR))}
        listed = {parameter.field for parameter in entry.parameters}
        assert {field.partition(".")[0] for field in known - listed} <= {
            "id", "user_id", "type", "references", "enhancement_source",
        }  # fmt: skip


def test_everything_that_is_chosen_by_name_is_listed() -> None:
    found, table = catalog(Fleet([])), choices()
    assert {entry.name: json.loads(entry.values) for entry in found.presets} == {
        name: preset.values for name, preset in table.presets.items()
    }
    assert {entry.worker_type for entry in found.presets} == {"sdxl", "wan", "chat"}
    sizes = {(entry.worker_type, entry.name): f"{entry.width}x{entry.height}" for entry in found.aspect_ratios}
    assert sizes["sdxl", "16:9"] == "1344x768"
    assert sizes["wan", "16:9"] == "832x480"
    assert len(sizes) == len(table.aspect_ratios.sdxl) + len(table.aspect_ratios.wan)
    assert {entry.name: entry.description for entry in found.styles} == {
        name: words.description for name, words in table.styles.items()
    }
    assert [entry.name for entry in found.qualities] == list(table.qualities)


def test_what_the_caller_may_do_is_said() -> None:
    modes = [edge_pb2.CONTENT_MODE_SFW]
    found = catalog(Fleet([]), lambda name: name.startswith("sdxl_"), modes, {"conversation": "Talks."})
    assert {entry.name for entry in found.job_types if entry.permitted} == {"sdxl_image_fast", "sdxl_image_high"}
    assert list(found.content_modes) == modes
    assert [(entry.name, entry.description) for entry in found.chat_contexts] == [("conversation", "Talks.")]


async def test_the_catalogue_of_a_running_edge_has_the_version_in_force(channel: grpc.aio.Channel, ann: Calls) -> None:
    found = await ann.catalog.GetCatalog(edge_pb2.GetCatalogRequest(), metadata=ann.metadata)
    assert found.policy_version == current().version
    assert len(found.job_types) == len(TYPE_NAMES)
