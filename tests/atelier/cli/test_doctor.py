"""The doctor's command: every finding a line, and an exit code that a script can use."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atelier.cli.app import app
from atelier.doctor import machine
from tests.kit.scripted_edge import ScriptedEdge


@pytest.fixture(autouse=True)
def _quick(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "token").chmod(0o600)
    monkeypatch.setattr(machine, "DEVICE", "print('torch 2')")


def test_a_machine_that_is_well_is_exit_code_0(edge: ScriptedEdge) -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "ok       ffmpeg: ffmpeg version" in result.stdout
    assert "ok       worker sdxl_worker_001" in result.stdout


def test_something_wrong_is_exit_code_1_and_says_how_to_mend_it(data: Path) -> None:
    (data / "token").chmod(0o644)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert f"to mend it: chmod 600 {data / 'token'}" in result.stdout


def test_programs_get_one_object_for_each_finding() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"what": "torch", "state": "ok", "seen": "torch 2", "mend": ""} in found
