"""What `import atelier` gives, and that the example in its docstring is true."""

import textwrap
from pathlib import Path

import pytest

import atelier
from atelier import errors
from atelier.contracts.errors import TABLE
from tests.kit.scripted_edge import ANSWER, JOB_ID, PNG


def test_every_public_name_exists() -> None:
    assert [name for name in atelier.__all__ if not hasattr(atelier, name)] == []


def test_every_public_name_says_what_it_is() -> None:
    assert [name for name in atelier.__all__ if not getattr(atelier, name).__doc__] == []


def test_every_error_of_the_edge_can_be_caught_by_its_name() -> None:
    assert [kind.__name__ for kind in TABLE if kind.__name__ not in errors.__all__] == []


def test_the_example_runs(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    example = (atelier.__doc__ or "").partition("\n\n")[2].partition("\n`AsyncClient`")[0]
    monkeypatch.chdir(data)
    exec(textwrap.dedent(example), {})
    assert (data / "out" / f"{JOB_ID}_image_0.png").read_bytes() == PNG
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2] == f"out/{JOB_ID}_image_0.png 0"
    assert printed[-1] == "".join(ANSWER)
