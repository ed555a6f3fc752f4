"""The contracts themselves: committed stubs are those of the protos, and buf's rules hold."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def generate(repository: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, repository / "protos/generate.py", *arguments], check=True)


def contents(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.suffix in (".py", ".pyi"))
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_committed_stubs_are_those_of_the_protos(repository: Path, tmp_path: Path) -> None:
    generate(repository, "--into", str(tmp_path))
    fresh, committed = contents(tmp_path), contents(repository / "atelier/pb")
    assert len(fresh) > 20
    assert {path for path in fresh | committed if fresh.get(path) != committed.get(path)} == set()


def lint(repository: Path, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    """Runs buf on the protos of a checkout, as `make lint` does."""
    descriptors = tmp_path / "descriptors.binpb"
    generate(repository, "--descriptors", str(descriptors))
    command = [
        Path(sys.executable).with_name("buf"),
        "lint",
        str(descriptors),
        "--config",
        str(repository / "buf.yaml"),
    ]
    return subprocess.run(command, capture_output=True, text=True)


def test_buf_finds_nothing_in_the_protos(repository: Path, tmp_path: Path) -> None:
    found = lint(repository, tmp_path)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@pytest.mark.parametrize(
    ("sound", "broken", "rule"),
    [
        ("  // How many images: 1, 3 or 6.\n", "", "should have a non-empty comment"),
        ("optional uint32 num_images = 1", "optional uint32 NumImages = 1", "should be lower_snake_case"),
        ("REFERENCE_TYPE_STYLE = 1", "STYLE = 1", "should be prefixed"),
    ],
)
def test_buf_catches_a_broken_proto(repository: Path, tmp_path: Path, sound: str, broken: str, rule: str) -> None:
    shutil.copytree(repository / "protos", tmp_path / "protos")
    shutil.copy(repository / "buf.yaml", tmp_path)
    proto = tmp_path / "protos/atelier/sdxl/v1/sdxl.proto"
    text = proto.read_text()
    assert text.count(sound) == 1
    proto.write_text(text.replace(sound, broken))
    found = lint(tmp_path, tmp_path)
    assert found.returncode != 0
    assert rule in found.stdout
