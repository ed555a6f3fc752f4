"""What the launcher tells its services of each other."""

from pathlib import Path

import pytest

from atelier.launcher import programs
from atelier.launcher.programs import Plan


def test_edge_and_workers_share_a_secret_that_is_new_at_every_start(tmp_path: Path) -> None:
    first, second = Plan(tmp_path), Plan(tmp_path)
    told = [programs.worker("sdxl", first, "m"), programs.worker("chat", first, "m"), programs.edge(first, [])]
    assert {program.environment["ATELIER_WORKER_TOKEN"] for program in told} == {first.worker_token}
    assert first.worker_token != second.worker_token
    assert len(first.worker_token) >= 40
    assert first.worker_token not in repr(first)


def test_what_proves_services_of_several_machines_is_not_taken_for_those_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_TLS_CERT", "/nowhere")
    monkeypatch.setenv("ATELIER_WORKER_TOKEN_FILE", "/nowhere")
    for program in (programs.worker("sdxl", Plan(tmp_path), "m"), programs.edge(Plan(tmp_path), [])):
        assert program.environment["ATELIER_TLS_CERT"] == program.environment["ATELIER_WORKER_TOKEN_FILE"] == ""
