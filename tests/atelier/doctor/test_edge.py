"""What the doctor says of a running edge and of one that is not there."""

from pathlib import Path

import pytest

from atelier.doctor import State, running_edge
from atelier.errors import PermissionDenied
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.worker.v1 import worker_pb2
from tests.kit.scripted_edge import ScriptedEdge


async def test_a_running_edge_and_its_workers_are_ok(data: Path, edge: ScriptedEdge) -> None:
    found = await running_edge()
    assert [(finding.what, finding.state) for finding in found] == [
        ("edge", State.OK),
        ("worker sdxl_worker_001", State.OK),
    ]


async def test_a_token_that_may_not_see_the_workers_is_no_fault(data: Path, edge: ScriptedEdge) -> None:
    edge.script.workers_refusal = PermissionDenied("this needs the scope fleet.read, which your token does not cover")
    found, workers = await running_edge()
    assert (found.state, found.seen) == (State.OK, edge.address)
    assert (workers.state, workers.seen) == (State.NOTE, "this token may not see them")


async def test_no_edge_is_a_note(data: Path, edge: ScriptedEdge) -> None:
    edge.stop()
    [finding] = await running_edge()
    assert finding.state is State.NOTE
    assert not finding.is_bad
    assert edge.address in finding.seen


async def test_no_token_is_a_note(data: Path) -> None:
    (data / "token").unlink()
    [finding] = await running_edge()
    assert finding.state is State.NOTE


async def test_what_can_be_no_token_is_wrong(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_TOKEN", "two lines")
    [finding] = await running_edge()
    assert finding.state is State.WRONG
    assert "ATELIER_TOKEN" in finding.seen


async def test_a_wrong_token_is_wrong(data: Path) -> None:
    (data / "token").write_text("another")
    [finding] = await running_edge()
    assert finding.state is State.WRONG
    assert "ATELIER_TOKEN" in finding.mend


@pytest.mark.parametrize(
    ("worker", "seen"),
    [
        (edge_pb2.Worker(address="127.0.0.1:1"), "127.0.0.1:1 does not answer"),
        (
            edge_pb2.Worker(address="127.0.0.1:1", status=worker_pb2.WatchStatusResponse(accepting=False)),
            "127.0.0.1:1 takes no work",
        ),
    ],
)
async def test_a_worker_that_cannot_be_used_is_wrong(
    data: Path, edge: ScriptedEdge, monkeypatch: pytest.MonkeyPatch, worker: edge_pb2.Worker, seen: str
) -> None:
    answer = edge_pb2.ListWorkersResponse(workers=[worker])
    monkeypatch.setattr(edge.script, "workers", answer)
    finding = (await running_edge())[1]
    assert (finding.state, finding.seen) == (State.WRONG, seen)
