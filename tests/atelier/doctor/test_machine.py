"""What the doctor says of a machine where something is missing or wrong."""

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from atelier.doctor import machine
from atelier.doctor.finding import Finding, State


@pytest.fixture(autouse=True)
def _no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing torch takes seconds and is looked at once, by the command's own test."""
    monkeypatch.setattr(machine, "DEVICE", "print('torch 2')")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ATELIER_TOKEN", raising=False)
    monkeypatch.delenv("ATELIER_DATABASE_URL", raising=False)
    return tmp_path


def look(data: Path) -> dict[str, Finding]:
    return {finding.what: finding for finding in machine.this_machine(data)}


def test_this_machine_is_well(folder: Path) -> None:
    assert [finding for finding in look(folder).values() if finding.is_bad] == []


def test_every_finding_that_is_not_ok_says_how_to_mend_it(folder: Path) -> None:
    found = look(folder)
    assert found["small sdxl model"].state is State.NOTE
    assert found["token"].state is State.NOTE
    assert [what for what, finding in found.items() if finding.state is not State.OK and not finding.mend] == []


def test_a_token_that_others_can_read_is_wrong(folder: Path) -> None:
    (folder / "token").write_text("secret")
    (folder / "token").chmod(0o644)
    token = look(folder)["token"]
    assert token.state is State.WRONG
    assert token.mend == f"chmod 600 {folder / 'token'}"
    (folder / "token").chmod(0o600)
    assert look(folder)["token"].state is State.OK


def test_a_folder_that_cannot_be_written_is_wrong(folder: Path) -> None:
    (folder / "file").write_text("")
    data = look(folder / "file" / "data")["data folder"]
    assert data.state is State.WRONG
    assert "ATELIER_DATA" in data.mend


def test_a_full_disk_is_wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int = 10**9

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage())
    assert look(folder)["cache folder"].state is State.WRONG
    assert "1.0 GB free" in look(folder)["cache folder"].seen


def test_a_missing_package_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PACKAGES", ("grpc", "no_such_package", "no_such.part"))
    packages = look(folder)["packages"]
    assert packages.state is State.MISSING
    assert packages.seen == "no_such_package, no_such.part"


def test_a_torch_that_breaks_is_shown_with_its_last_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "DEVICE", "raise ImportError('libcudart.so is missing')")
    torch = look(folder)["torch"]
    assert torch.state is State.WRONG
    assert torch.seen == "ImportError: libcudart.so is missing"


def test_a_database_of_ones_own_needs_none_of_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_DATABASE_URL", "postgresql://localhost/atelier")
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    assert look(folder)["postgresql"].state is State.OK


def test_an_old_python_is_wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "OLDEST_PYTHON", (sys.version_info.major, sys.version_info.minor + 1))
    assert look(folder)["python"].state is State.WRONG
