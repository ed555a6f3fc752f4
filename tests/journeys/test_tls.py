"""The edge's own port over TLS, as a client sees it."""

from pathlib import Path

import pytest

from atelier.client import AsyncClient
from atelier.connection import _with_port
from atelier.errors import EdgeUnreachable
from tests.kit.certificates import Authority
from tests.kit.edge import ANN, StartEdge


async def test_a_client_calls_over_tls_and_knows_whom(
    start_edge: StartEdge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    authority = Authority()
    certificate, key = authority.issue(tmp_path, "edge")
    server = await start_edge(tls_cert=certificate, tls_key=key)
    monkeypatch.setenv("ATELIER_EDGE_CA", authority.write(tmp_path / "ca.pem"))
    async with AsyncClient(f"https://{server.address}", ANN) as client:
        assert await client.jobs() == []
    monkeypatch.setenv("ATELIER_EDGE_CA", Authority("a stranger").write(tmp_path / "other.pem"))
    for address in (f"https://{server.address}", server.address):
        async with AsyncClient(address, ANN) as client:
            with pytest.raises(EdgeUnreachable):
                await client.jobs()


@pytest.mark.parametrize(
    ("address", "target"), [("edge.example", "edge.example:443"), ("edge.example/", "edge.example:443"), ("e:1", "e:1")]
)
def test_https_has_its_usual_port(address: str, target: str):
    assert _with_port(address) == target
