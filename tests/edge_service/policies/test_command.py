"""`python -m edge_service.policies`, which `atelier policy` calls."""

import json
from pathlib import Path

import pytest
import yaml

from edge_service.policies.__main__ import main
from edge_service.policies.registry import load
from edge_service.policy.difference import changes
from tests.kit.policy_folder import Write

Out = pytest.CaptureFixture[str]


def test_check_says_the_files_and_the_version(changed: Write, capsys: Out) -> None:
    folder = changed("tiers", "max_queued: 100\n", "max_queued: 200\n")
    assert main(["check", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"{folder}/tiers.yaml\n" in said
    assert said.endswith(f"version {load(str(folder)).version}, no mistakes\n")


def test_check_says_every_mistake_and_ends_with_1(changed: Write, capsys: Out) -> None:
    folder = changed("tiers", "max_queued: 100\n", "max_queued: none\n")
    changed("costs", "sdxl: 0.04", "sdxl: 0")
    assert main(["check", str(folder)]) == 1
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == f"{folder}/costs.yaml:5:26: seconds_per_unit.sdxl: must be greater than 0, got 0"
    assert second.startswith(f"{folder}/tiers.yaml:29:17: tiers.basic.max_queued: must be a valid integer")
    assert last == "2 mistakes; an edge refuses these policies"


def test_check_tells_programs_where(changed: Write, capsys: Out) -> None:
    folder = changed("costs", "sdxl: 0.04", "sdxl: 0")
    assert main(["check", str(folder), "--json"]) == 1
    [mistake] = json.loads(capsys.readouterr().out)["mistakes"]
    assert mistake == {
        "file": f"{folder}/costs.yaml", "line": 5, "column": 26,
        "path": "seconds_per_unit.sdxl", "problem": "must be greater than 0, got 0",
    }  # fmt: skip


def test_show_writes_out_what_is_in_force(changed: Write, capsys: Out) -> None:
    folder = changed("tiers", "max_queued: 100\n", "max_queued: 200\n")
    assert main(["show", "--folder", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"# version {load(str(folder)).version}\n")
    assert f"# tiers: {folder}/tiers.yaml\n" in said
    assert main(["show", "job_types"]) == 0
    table = yaml.safe_load(capsys.readouterr().out)
    assert table["job_types"]["sdxl_image_high"]["values"]["config"]["steps"] == 25
    assert table["job_types"]["sdxl_image_high"]["enhanced"] is False  # a default
    assert main(["show", "nonsense"]) == 1
    assert "no policy nonsense; known: content, contexts, costs, enhancement, job_types" in capsys.readouterr().err


def test_the_folder_of_the_environment_is_the_default(
    changed: Write, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_POLICIES", str(changed("costs", "sdxl: 0.04", "sdxl: 0")))
    assert main(["check"]) == 1
    assert main(["check", "built-in"]) == 0
    assert main(["show"]) == 1
    assert "costs.yaml:5:26" in capsys.readouterr().err


def test_diff_says_which_values_differ_by_their_path(changed: Write, capsys: Out) -> None:
    folder = changed("tiers", "max_queued: 100\n", "max_queued: 200\n")
    changed("presets", "{prompt}, cinematic still", "{prompt}, film still")
    assert main(["diff", "built-in", str(folder)]) == 0
    assert capsys.readouterr().out == (
        "presets.yaml\n"
        '  styles.cinematic.prompt: "{prompt}, cinematic still, dramatic lighting, shallow depth of field"'
        ' -> "{prompt}, film still, dramatic lighting, shallow depth of field"\n'
        "tiers.yaml\n"
        "  tiers.basic.max_queued: 100 -> 200\n"
        f"version {load().version} -> {load(str(folder)).version}\n"
    )


def test_diff_tells_programs_the_values(changed: Write, capsys: Out) -> None:
    folder = changed("tiers", "max_queued: 100\n", "max_queued: 200\n")
    main(["diff", "built-in", str(folder), "--json"])
    assert json.loads(capsys.readouterr().out)["changes"] == [
        {"policy": "tiers", "path": "tiers.basic.max_queued", "old": 100, "new": 200}
    ]


def test_a_change_of_comments_is_no_difference_of_values(changed: Write, capsys: Out) -> None:
    folder = changed("tiers", "# Who may do", "# Whoever may be")
    main(["diff", "built-in", str(folder)])
    assert capsys.readouterr().out.endswith("only comments and the way it is written differ\n")
    main(["diff", "built-in", "built-in"])
    assert capsys.readouterr().out == f"version {load().version}, the same\n"


def test_bad_policies_are_not_compared(changed: Write, capsys: Out) -> None:
    assert main(["diff", "built-in", str(changed("costs", "sdxl: 0.04", "sdxl: 0"))]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "costs.yaml:5:26: " in captured.err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {}, ["a: 1 -> (absent)"]),
        ({}, {"a": {"b": "x"}}, ['a.b: (absent) -> "x"']),
        ({"a": 1}, {"a": True}, ["a: 1 -> true"]),
        ({"a": {}}, {"a": {"b": 1}}, ["a: {} -> (absent)", "a.b: (absent) -> 1"]),
        ({"w": ["x", "y"]}, {"w": ["z", "x"]}, ['w: -"y" +"z"']),
        ({"w": ["x", "y"]}, {"w": ["y", "x"]}, ["w: the same in another order"]),
        ({"w": [{"a": 1}, {"a": 2}]}, {"w": [{"a": 1}, {"a": 3}]}, ["w[1].a: 2 -> 3"]),
    ],
)
def test_values_are_compared_one_by_one(old: dict[str, object], new: dict[str, object], said: list[str]) -> None:
    assert [str(change) for change in changes({"p": old}, {"p": new})] == said


def test_a_policy_that_only_one_side_has_is_all_of_it(tmp_path: Path) -> None:
    [change] = changes({}, {"p": {"a": 1}})
    assert (change.policy, str(change)) == ("p", "a: (absent) -> 1")
