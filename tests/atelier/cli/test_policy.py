"""`atelier policy`: what the edge says of its policies, passed on."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from atelier.cli.app import app


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["policy", *words])


def test_a_folder_in_order_has_a_version(tmp_path: Path) -> None:
    result = run("check", str(tmp_path))
    assert result.exit_code == 0
    assert result.stdout.endswith(", no mistakes\n")


def test_mistakes_are_said_with_their_place_and_end_with_1(tmp_path: Path) -> None:
    (tmp_path / "costs.yaml").write_text("version: 1\nseconds_per_unit: {sdxl: 0, wan: 1, chat: 1}\n")
    result = run("check", str(tmp_path))
    assert result.exit_code == 1
    assert f"{tmp_path}/costs.yaml:2:26: seconds_per_unit.sdxl: must be greater than 0, got 0\n" in result.stdout
    result = run("diff", "built-in", str(tmp_path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "costs.yaml:2:26: " in result.stderr


def test_programs_get_json(tmp_path: Path) -> None:
    (tmp_path / "costs.yaml").write_text("version: 1\nseconds_per_unit: {sdxl: 7, wan: 0.11, chat: 0.02}\n")
    found = json.loads(run("show", "costs", "--folder", str(tmp_path), "--json").stdout)
    assert found["policies"]["costs"]["seconds_per_unit"]["sdxl"] == 7.0
    [change] = json.loads(run("diff", "built-in", str(tmp_path), "--json").stdout)["changes"]
    assert change == {"policy": "costs", "path": "seconds_per_unit.sdxl", "old": 0.04, "new": 7.0}


@pytest.mark.parametrize("command", ["check", "show", "diff"])
def test_every_help_teaches_with_an_example(command: str) -> None:
    example = " ".join(run(command, "--help").stdout.partition("Example:")[2].split())
    assert f"atelier policy {command}" in example
