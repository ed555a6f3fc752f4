"""The catalogue has all that a frontend needs to draw its forms."""

import functools
import json
from typing import cast

import grpc
import pytest
from google.protobuf.descriptor import Descriptor

from atelier.contracts.validation import rules
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from atelier.pb.worker.v1 import worker_pb2
from edge_service.domain.job_types import TYPE_NAMES, job_types
from edge_service.domain.kinds import KINDS, kind_of
from edge_service.fleet import Fleet
from edge_service.planning.presets import choices
from edge_service.policy import current
from edge_service.use_cases.catalog import catalog
from tests.kit.edge import Calls


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


def connected(worker_type: str, *models: worker_pb2.Model) -> Fleet:
    """A fleet of one worker that has just said that it has these models."""
    fleet = Fleet(["127.0.0.1:1"])
    description = worker_pb2.WorkerDescription(worker_type=worker_type, slots=1, models=models)
    fleet.workers[0].heard(description, worker_pb2.WatchStatusResponse(slots=1, accepting=True))
    return fleet


def parameters(fleet: Fleet, job_type: str) -> dict[str, edge_pb2.Parameter]:
    [entry] = [entry for entry in catalog(fleet).job_types if entry.name == job_type]
    return {each.field: each for each in entry.parameters}


def test_the_bounds_of_a_size_are_those_of_the_connected_models() -> None:
    model = worker_pb2.Model(name="wan_2.1", size_multiple=48, min_side=64, max_pixels=1280 * 720)
    width = parameters(connected("wan", model), "video_fast")["config.width"]
    # With 64 below 96, 96 is the least; 921600 / 96 is 9600, so that the protos' 4096 bounds the other side.
    assert (width.minimum, width.maximum) == (96, 4080)
    assert (width.multiple_of, width.min_side, width.max_pixels) == (48, 64, 921600)
    small = worker_pb2.Model(name="sdxl_base", size_multiple=8, min_side=512, max_pixels=2**20)
    sdxl = parameters(connected("sdxl", model, small), "sdxl_image_fast")["config.resolution"]
    assert (sdxl.multiple_of, sdxl.min_side, sdxl.max_pixels) == (8, 64, 2**20)
    assert sdxl.maximum == 9  # characters, as before


def test_a_side_is_bounded_by_the_area() -> None:
    model = worker_pb2.Model(name="wan_2.1", size_multiple=16, min_side=512, max_pixels=1000 * 512)
    height = parameters(connected("wan", model), "video_fast")["config.height"]
    assert (height.minimum, height.maximum) == (512, 992)


def test_without_a_model_the_bounds_of_a_size_are_those_of_the_protos() -> None:
    width = parameters(Fleet([]), "video_fast")["config.width"]
    assert (width.minimum, width.maximum, width.multiple_of, width.max_pixels) == (16, 4096, 0, 0)


def test_a_parameter_says_whether_a_connected_model_can_use_it() -> None:
    able = worker_pb2.Model(name="sdxl_base", capabilities=["reference_style"])
    found = parameters(connected("sdxl", able), "sdxl_image_fast")
    assert [name for name, each in found.items() if not each.available] == ["compel_enabled", "compel_weights"]
    assert list(found["metadata.reference_type"].choices) == ["style"]
    wan = parameters(connected("wan", worker_pb2.Model(name="wan_2.1")), "video_fast")
    assert list(wan["config.reference_mode"].choices) == ["none"]
    assert wan["config.reference_mode"].available
    assert not wan["config.first_frame"].available


@pytest.mark.parametrize("job_class", [sdxl_pb2.SdxlJob, wan_pb2.WanJob])
def test_the_fields_that_need_an_ability_are_those_that_are_checked(job_class: type) -> None:
    for rule in rules(cast(Descriptor, job_class.DESCRIPTOR)):
        if rule.field.startswith(("references", "enhancement_source")) or rule.field == "metadata.reference_strength":
            continue  # set by the edge; means nothing by itself
        job, (*parents, name) = job_class(), rule.field.split(".")
        value = {"bool": True, "string": "x", "enum": 2}.get(rule.type)
        if value is not None:
            setattr(functools.reduce(getattr, parents, job), name, value)
        kind = kind_of(job)
        assert bool(kind.needs(job)) == (rule.field in {*kind.optional_abilities, *kind.ability_choices}), rule.field


def test_chat_is_safe_for_work_where_nobody_says_otherwise() -> None:
    assert parameters(Fleet([]), "chat_turn")["sfw_mode"].default == "true"


def test_parameters_are_all_that_a_request_may_set_and_nothing_else() -> None:
    for entry in catalog(Fleet([])).job_types:
        known = {rule.field for rule in rules(cast(Descriptor, KINDS[entry.worker_type].job_class.DESCRIPTOR))}
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
    assert len(sizes) == len(table.sizes("sdxl")) + len(table.sizes("wan"))
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
