"""Where a client finds the edge and the token."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import atelier
from atelier import connection, errors
from tests.kit.scripted_edge import TOKEN, ScriptedEdge


def test_what_the_launcher_left_is_found(data: Path, edge: ScriptedEdge) -> None:
    assert connection.find() == connection.Connection(edge.address, TOKEN)


def test_the_environment_wins_over_what_the_launcher_left(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_EDGE", "edge.example:50051")
    monkeypatch.setenv("ATELIER_TOKEN", "other")
    assert connection.find() == connection.Connection("edge.example:50051", "other")


def test_what_is_given_wins_over_the_environment(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_EDGE", "edge.example:50051")
    assert connection.find("here:1", "mine") == connection.Connection("here:1", "mine")


def test_space_around_a_token_does_not_count(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_TOKEN", " other\r\n")
    assert connection.find().token == "other"
    monkeypatch.setenv("ATELIER_TOKEN", "\n")
    assert connection.find().token == TOKEN


@pytest.mark.parametrize("token", ["two\nlines", "caf\u00e9", "two words", "nul\x00"])
def test_what_can_be_no_token_is_refused_in_one_line_before_it_is_sent(data: Path, token: str) -> None:
    with pytest.raises(errors.Unauthenticated, match="the token that was given has characters"):
        connection.find(token=token)


def test_the_variable_with_what_can_be_no_token_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_TOKEN", "caf\u00e9")
    with pytest.raises(errors.Unauthenticated, match=r"^ATELIER_TOKEN has characters that no token has"):
        connection.find()


def test_without_a_token_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_DATA", str(tmp_path))
    monkeypatch.delenv("ATELIER_TOKEN", raising=False)
    with pytest.raises(errors.Unauthenticated, match=str(tmp_path / "token")):
        atelier.Client()


def test_without_a_running_edge_the_default_address_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_DATA", str(tmp_path))
    monkeypatch.delenv("ATELIER_EDGE", raising=False)
    assert connection.find(token="mine").address == "127.0.0.1:50051"


def test_an_edge_that_is_not_there_is_named(data: Path, edge: ScriptedEdge) -> None:
    edge.stop()
    with atelier.Client() as client, pytest.raises(atelier.EdgeUnreachable, match=edge.address):
        client.jobs()


def test_the_addresses_are_read_back(tmp_path: Path) -> None:
    connection.addresses_file(tmp_path).write_text(json.dumps({"edge": "127.0.0.1:1"}))
    assert connection.running_addresses(tmp_path) == {"edge": "127.0.0.1:1"}
    assert connection.running_addresses(tmp_path / "nowhere") == {}


def test_importing_the_client_loads_no_framework(repository: Path) -> None:
    code = "import sys, atelier; print({'torch', 'diffusers', 'transformers'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"
