"""What `check` refuses: every mistake of every file at once, each where it stands."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from edge_service.accounts.tiers import Tiers
from edge_service.domain.job_types import JobType, JobTypes, job_types
from edge_service.planning.presets import Choices
from edge_service.policies.registry import SCHEMAS, load
from edge_service.policy import PolicyRefused
from edge_service.policy.folder import BUILT_IN, MAX_BYTES
from tests.kit.policy_folder import Write

PRESETS = """\
version: one
presets:
  sketch:
    worker_type: sdxl
    description: a sketch
    values: {config: {stepz: 5, steps: 7}, prompt: hi,
      sampling: {clip_skip: 9}}
  Bad-Name: {worker_type: video, description: "", values: {}}
  twice: {worker_type: wan, description: y, values: {config: {fps: 9}}}
  twice: {worker_type: wan, description: y, values: {config: {frames: 99}}, extra: 1}
  lonely: {worker_type: wan, description: y, values: {config: {width: 480}}}
aspect_ratios:
  sdxl: {16:9: 768x1344, "1:1": 10x10, "2:1": wide}
  chat: {"1:1": 64x64}
qualities:
  none: {description: nothing}
  odd:
    description: odd
    prompt: no place
"""

KNOWN = ", ".join(f"{name}.yaml" for name in SCHEMAS)


def mistakes(folder: Path) -> list[str]:
    """What is said of a folder, without the name of the folder."""
    with pytest.raises(PolicyRefused) as refused:
        load(str(folder))
    return [str(mistake).removeprefix(f"{folder}/") for mistake in refused.value.mistakes]


def only(folder: Path) -> str:
    [mistake] = mistakes(folder)
    return mistake


def test_what_atelier_brings_is_in_order_and_every_file_has_a_schema() -> None:
    assert load().table("tiers", Tiers).tiers["guest"].priority == 0
    assert {path.stem for path in BUILT_IN.glob("*.yaml")} == set(SCHEMAS)


def test_every_mistake_of_every_file_is_said_at_once_with_its_line_and_column(folder: Path) -> None:
    (folder / "presets.yaml").write_text(PRESETS)
    (folder / "tier.yaml").write_text("a: 1")
    (folder / "tiers.yml").write_text("a: 1")
    (folder / "costs.yaml").write_text("version: 1\nseconds_per_unit: {sdxl: 1, wan: 1\n")
    assert mistakes(folder) == [
        "costs.yaml:3:1: is not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'",
        "presets.yaml:1:1: styles: is missing",
        "presets.yaml:1:10: version: must be a valid integer, unable to parse string as an integer, got 'one'",
        "presets.yaml:6:30: presets.sketch.values.config.stepz: unknown field; known: num_images, steps,"
        " guidance_scale, resolution, seed, negative_prompt",
        "presets.yaml:6:40: presets.sketch.values.config.steps: must be 10 to 50, got 7",
        "presets.yaml:6:52: presets.sketch.values.prompt: prompt cannot be filled by a policy",
        "presets.yaml:7:29: presets.sketch.values.sampling.clip_skip: must be less than or equal to 4, got 9",
        "presets.yaml:8:3: presets.Bad-Name: must match pattern '^[a-z0-9_]+$', got 'Bad-Name'",
        "presets.yaml:8:27: presets.Bad-Name.worker_type: must be 'sdxl', 'wan' or 'chat', got 'video'",
        "presets.yaml:8:47: presets.Bad-Name.description: must have at least 1 character, got ''",
        "presets.yaml:8:51: presets.Bad-Name.values: must have at least 1 item after validation, not 0",
        "presets.yaml:10:3: presets.twice: is given twice, first in line 9",
        "presets.yaml:10:71: presets.twice.values.config.frames: must be 1 to 83, got 99",
        "presets.yaml:10:84: presets.twice.extra: unknown key; known: worker_type, description, values",
        "presets.yaml:11:71: presets.lonely.values.config.width: width and height go together: give both or neither",
        "presets.yaml:12:1: aspect_ratios.wan: is missing",
        'presets.yaml:13:10: aspect_ratios.sdxl: a key must be text: write "16:9", for YAML takes 16:9 without quotes'
        " for a number, a date or a truth value",
        "presets.yaml:13:16: aspect_ratios.sdxl.16:9: must be within 5% of 16:9, got 768x1344",
        "presets.yaml:13:33: aspect_ratios.sdxl.1:1: resolution: both sides must be 64 to 4096, without leading zeros,"
        " got '10x10'",
        "presets.yaml:13:47: aspect_ratios.sdxl.2:1: must be width x height in pixels, such as 1024x1024, got 'wide'",
        "presets.yaml:14:3: aspect_ratios.chat: unknown key; known: sdxl, wan",
        "presets.yaml:16:3: qualities.none: adds no words: give prompt or negative_prompt",
        "presets.yaml:19:13: qualities.odd.prompt: must have {prompt} once and no other braces, got 'no place'",
        f"tier.yaml: is no file of policy; known: {KNOWN}",
        f"tiers.yml: is no file of policy; known: {KNOWN}",
    ]


def test_a_file_that_lacks_what_is_needed_is_pointed_at_where_it_is_lacking(changed: Write) -> None:
    assert only(changed("tiers", "  basic:\n    priority: 10\n", "  basic:\n")).startswith(
        "tiers.yaml:26:3: tiers.basic.priority: is missing"
    )


def test_a_value_of_an_anchor_is_pointed_at_where_it_is_written(changed: Write) -> None:
    said = mistakes(changed("job_types", "        steps: 15", "        steps: 5"))
    assert said == ["job_types.yaml:12:16: job_types.sdxl_image_fast.values.config.steps: must be 10 to 50, got 5"]
    said = mistakes(changed("job_types", "num_images: 1", "num_images: 2"))
    assert said == [
        f"job_types.yaml:11:21: job_types.{name}.values.config.num_images: must be one of 1, 3, 6, got 2"
        for name in ("sdxl_image_fast", "sdxl_image_high")  # which has it by its anchor
    ]


def test_a_job_type_that_no_worker_would_take_is_refused(changed: Write) -> None:
    said = mistakes(changed("job_types", "frames: 1, fps: 24", "frames: 2, fps: 24"))
    assert len(said) == 4
    assert said[0].startswith(
        "job_types.yaml:25:3: job_types.image_fast: values: job.config.frames: an image job has exactly 1 frame"
    )


def test_a_job_type_without_a_value_that_workers_need_is_refused(changed: Write) -> None:
    folder = changed("job_types", "      sampling: {scheduler: euler, clip_skip: 0}\n", "")
    assert "job_types.sdxl_image_fast: values: job.sampling: scheduler, clip_skip" in mistakes(folder)[0]


def test_the_table_has_all_job_types_of_the_contracts_and_no_other(folder: Path, changed: Write) -> None:
    changed("job_types", "  chat_turn:", "  chat_twist:")
    said = only(folder)
    assert said.startswith("job_types.yaml:52:3: job_types.chat_twist: is no job type of the contracts; known: sdxl_")
    text = (folder / "job_types.yaml").read_text()
    (folder / "job_types.yaml").write_text(text.partition("  chat_twist:")[0])
    assert only(folder) == "job_types.yaml:5:1: job_types: chat_turn is missing"


def test_a_job_type_belongs_to_the_worker_of_the_contracts(changed: Write) -> None:
    of_wan = "image_fast:\n    worker_type: wan\n    credits: 2\n    values:\n      config: &still"
    said = mistakes(changed("job_types", of_wan, of_wan.replace("wan", "chat")))
    assert "job_types.image_fast.values.config: unknown field" in said[0]  # a chat request has none
    entry = JobType(worker_type="chat", credits=1, values={})
    with pytest.raises(ValidationError, match="worker_type must be wan, got chat"):
        JobTypes(version=1, job_types={**job_types(), "image_fast": entry})


def test_first_guesses_are_for_every_worker_type(changed: Write) -> None:
    said = mistakes(changed("costs", "wan: 0.11", "van: 0.11"))
    assert said == [
        "costs.yaml:5:1: seconds_per_unit: wan is missing",
        "costs.yaml:5:37: seconds_per_unit.van: is no worker type; known: sdxl, wan, chat",
    ]


def test_a_preset_cannot_hide_a_job_type(changed: Write) -> None:
    said = only(changed("presets", "  sdxl_draft:", "  video_fast:"))
    assert said == "presets.yaml:7:3: presets.video_fast: is the name of a job type, which is a preset already"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version: 1\nseconds_per_unit: {sdxl: 1\xff}\n", "costs.yaml:2:1: is not UTF-8"),
        (b"", "costs.yaml:1:1: must be a mapping, got nothing"),
        (b"- 1\n", "costs.yaml:1:1: must be a mapping"),
        (
            b"version: 1\n---\nversion: 2\n",
            "costs.yaml:2:1: is not valid YAML: expected a single document in the stream",
        ),
        (
            b"version: !!python/name:os.system\n",
            "costs.yaml:1:10: is not valid YAML: could not determine a constructor",
        ),
        (b"a: \x01\n", "costs.yaml:1:1: is not valid YAML: has a character that YAML does not allow"),
        (b"a: &x [*x]\n", "costs.yaml:1:4: is not valid YAML: anchors make more than 100000 values of it"),
        (b"a: *nowhere\n", "costs.yaml:1:4: is not valid YAML: found undefined alias"),
        (b"[" * 50_000, "costs.yaml:1:51: is not valid YAML: nested more than 50 deep"),
        (b"[" * 50_000 + b"]" * 50_000, "costs.yaml:1:51: is not valid YAML: nested more than 50 deep"),
        (b"? [a]\n: 1\n", "costs.yaml:1:3: "),
    ],
)
def test_what_is_no_yaml_of_ours_is_refused_with_its_place(folder: Path, content: bytes, said: str) -> None:
    (folder / "costs.yaml").write_bytes(content)
    assert mistakes(folder)[0].startswith(said)


def test_anchors_that_multiply_are_refused(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (folder / "costs.yaml").write_text("\n".join(lines))
    assert "anchors make more than 100000 values" in only(folder)


def test_a_file_that_is_too_large_is_refused(folder: Path) -> None:
    (folder / "costs.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    assert "costs.yaml: must have at most 1048576 bytes" in mistakes(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyRefused, match="nowhere: no such file or directory"):
        load(str(tmp_path / "nowhere"))


def test_a_file_of_the_folder_replaces_the_built_in_one_and_the_others_stay(changed: Write) -> None:
    policies = load(str(changed("tiers", "max_queued: 100\n", "max_queued: 200\n")))
    assert policies.table("tiers", Tiers).tiers["basic"].max_queued == 200
    assert policies.table("presets", Choices) == load().table("presets", Choices)


def test_the_version_says_what_is_in_the_files_not_where_they_lie(folder: Path, changed: Write, tmp_path: Path) -> None:
    changed("tiers", "max_queued: 100\n", "max_queued: 200\n")
    other = folder.rename(tmp_path / "other")
    folder.mkdir()
    assert load(str(folder)).version == load().version != load(str(other)).version
    (folder / "tiers.yaml").write_bytes((other / "tiers.yaml").read_bytes())
    assert load(str(folder)).version == load(str(other)).version
    (folder / "notes.txt").write_text("no policy")
    (folder / ".hidden.yaml").write_text("no policy")
    assert load(str(folder)).version == load(str(other)).version
