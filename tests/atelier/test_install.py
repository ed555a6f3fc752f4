"""What someone has who installed the client alone, in a project of their own."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROGRAM = """
from atelier import AtelierError, Client, File


def draw(prompt: str) -> list[File]:
    with Client("localhost:50051", token="t") as client:
        try:
            return list(client.image(prompt, preset="sdxl_draft").result())
        except AtelierError as error:
            print(error.message)
            return []
"""
HEAVY = {"torch", "pydantic", "protovalidate", "typer", "psycopg", "edge_service", "shared"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder whose own packages have names of ours."""
    for name in ("shared", "edge_service"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise AssertionError('another project')")
    return tmp_path


def python(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_the_client_is_imported_beside_folders_of_other_projects_and_is_light(project: Path) -> None:
    ended = python(
        project, "-c", f"import sys; from atelier import Client; print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    assert (ended.stdout.strip(), ended.stderr) == ("[]", "")


def test_a_command_that_asks_the_edge_s_code_runs_there_too(project: Path) -> None:
    ended = python(project, "-P", "-m", "atelier", "policy", "check", "built-in")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("package", ["rich", "typer"])
def test_without_the_packages_of_the_command_line_one_line_says_what_to_install(project: Path, package: str) -> None:
    ended = python(
        project, "-c", f"import sys; sys.modules[{package!r}] = None; from atelier.__main__ import main; main()"
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "pip install 'atelier[cli]'" in ended.stderr


@pytest.mark.parametrize("command", ["up", "demo", "models", "policy check"])
def test_without_the_services_a_command_that_runs_them_says_what_to_install(project: Path, command: str) -> None:
    hide = "import importlib.util as u; find = u.find_spec; u.find_spec = lambda it: it != 'torch' and find(it) or None"
    run = f"import sys; sys.argv = ['atelier', *{command.split()!r}]; from atelier.__main__ import main; main()"
    ended = python(project, "-c", f"{hide}; {run}")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "torch; this command needs pip install 'atelier[local]'" in ended.stderr


def test_our_types_are_part_of_the_package(repository: Path) -> None:
    assert (repository / "atelier/py.typed").exists()
    settings = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert {"py.typed", "*.pyi"} <= set(settings["package-data"]["*"])


@pytest.mark.parametrize(("line", "code"), [("", 0), ("draw(5)\n", 1)])
def test_a_program_outside_is_checked_strictly_against_our_types(
    project: Path, repository: Path, line: str, code: int
) -> None:
    (project / "program.py").write_text(PROGRAM + line)
    # As it does with installed packages, mypy is to report mistakes in the program alone.
    (project / "mypy.ini").write_text(
        "[mypy]\n[mypy-atelier.*]\nfollow_imports = silent\nfollow_imports_for_stubs = true\n"
    )
    arguments = ["-P", "-m", "mypy", "--strict", "--cache-dir", str(project / "cache"), "program.py"]
    ended = python(project, *arguments, MYPYPATH=str(repository))
    assert ended.returncode == code, ended.stdout
