"""A scripted edge, and the data folder by which a client finds it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.scripted_edge import TOKEN, Script, ScriptedEdge


@pytest.fixture
def script() -> Script:
    """What the edge will do; a test changes it before it calls."""
    return Script()


@pytest.fixture
def edge(script: Script) -> Iterator[ScriptedEdge]:
    """An edge on a free port that follows the script."""
    edge = ScriptedEdge(script)
    yield edge
    edge.stop()


@pytest.fixture
def data(tmp_path: Path, edge: ScriptedEdge, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder as `atelier up` leaves it, named by ATELIER_DATA."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "addresses.json").write_text(json.dumps({"edge": edge.address}))
    monkeypatch.setenv("ATELIER_DATA", str(tmp_path))
    monkeypatch.delenv("ATELIER_EDGE", raising=False)
    monkeypatch.delenv("ATELIER_TOKEN", raising=False)
    return tmp_path
