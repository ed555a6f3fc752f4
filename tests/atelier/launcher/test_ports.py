"""The stack comes back where it was, unless another process listens there now."""

import socket
from pathlib import Path

import pytest

from atelier.launcher import ports, programs
from atelier.launcher.programs import Plan


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_an_open_port_is_that_of_the_last_start() -> None:
    port = free_port()
    assert ports.again("127.0.0.1:0", f"127.0.0.1:{port}") == f"127.0.0.1:{port}"
    assert ports.again("127.0.0.1:0", f"http://127.0.0.1:{port}") == f"127.0.0.1:{port}"


def test_a_port_that_was_asked_for_is_not_replaced() -> None:
    assert ports.again("127.0.0.1:50051", f"127.0.0.1:{free_port()}") == "127.0.0.1:50051"


def test_a_port_that_somebody_has_is_not_taken_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert ports.again("127.0.0.1:0", f"127.0.0.1:{other.getsockname()[1]}") == "127.0.0.1:0"


@pytest.mark.parametrize("last", [None, "", "nonsense", "127.0.0.1:99999", "127.0.0.1:-1"])
def test_without_a_last_port_any_is_taken(last: str | None) -> None:
    assert ports.again("127.0.0.1:0", last) == "127.0.0.1:0"


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_what_cannot_be_read_is_not_remembered(tmp_path: Path, text: str) -> None:
    (tmp_path / ports.FILE).write_text(text)
    assert ports.remembered(tmp_path) == {}
    assert ports.remembered(tmp_path / "nowhere") == {}


def test_the_edge_gets_its_ports_again(tmp_path: Path) -> None:
    grpc, http = free_port(), free_port()
    ports.remember(tmp_path, {"edge": f"127.0.0.1:{grpc}", "http": f"127.0.0.1:{http}"})
    edge = programs.edge(Plan(tmp_path), [], ports.remembered(tmp_path))
    assert edge.ports["grpc"].address == f"127.0.0.1:{grpc}"
    assert edge.ports["http"].address == f"127.0.0.1:{http}"
