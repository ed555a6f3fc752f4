"""Policies that change under a running edge, as its clients see it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psycopg
import pytest

from atelier.pb.edge.v1 import edge_pb2
from edge_service.auth import Principal, Tokens
from edge_service.bootstrap import Edge
from edge_service.config import EdgeConfig
from edge_service.policies.registry import load
from edge_service.policy.folder import BUILT_IN
from edge_service.policy.snapshot import in_force, use
from shared.server import Server
from tests.kit.edge import ANN, Calls

WANTED = """
presets:
  sdxl_poster:
    worker_type: sdxl
    description: For the wall
    values: {config: {steps: 33, resolution: 832x1216}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "policies"
    made.mkdir()
    return made


@pytest.fixture
async def calls(database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Calls]:
    """Calls to an edge whose policies lie in the folder."""
    monkeypatch.setattr("edge_service.policies.reloading.LOOK_SECONDS", 0.02)
    before = in_force()
    config = EdgeConfig(
        listen="127.0.0.1:0", http_listen="127.0.0.1:0", data=folder.parent / "data", database_url=database_url,
        assets=(folder.parent / "user-library").as_uri(), policies=str(folder), drain_seconds=1,
    )  # fmt: skip
    server = Server(Edge(config, Tokens({ANN: Principal("ann", "basic")})), config)
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield Calls(channel, ANN)
    await server.stop()
    use(before)


async def version(calls: Calls) -> str:
    found = await calls.catalog.GetCatalog(edge_pb2.GetCatalogRequest(), metadata=calls.metadata)
    return str(found.policy_version)


async def changes_to(calls: Calls, wanted: str) -> None:
    async with asyncio.timeout(20):
        while await version(calls) != wanted:
            await asyncio.sleep(0.02)


async def audited(url: str, wanted: list[str]) -> None:
    """Waits for the versions that the audit log is to have. A policy is in force just before its line is there."""
    query = "SELECT subject FROM audit WHERE actor = '' AND action = 'policy.in_force' ORDER BY id"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection, asyncio.timeout(10):
        while [version for [version] in await (await connection.execute(query)).fetchall()] != wanted:
            await asyncio.sleep(0.02)


async def test_a_new_preset_works_without_a_restart_and_a_bad_one_changes_nothing(
    calls: Calls, folder: Path, database_url: str
) -> None:
    first = await version(calls)
    job = {"type": "sdxl_image_fast", "prompt": "a fox"}
    with pytest.raises(grpc.aio.AioRpcError, match="preset: must be one of"):
        await calls.submit(sdxl=job, preset="sdxl_poster")

    builtin = (BUILT_IN / "presets.yaml").read_text()
    (folder / "presets.yaml").write_text(builtin.replace("\npresets:\n", WANTED))
    good = load(str(folder)).version
    await changes_to(calls, good)
    submitted = await calls.submit(sdxl=job, preset="sdxl_poster")
    assert submitted.sdxl.config.steps == 33
    assert "preset sdxl_poster" in {decision.why for decision in submitted.decisions}

    (folder / "presets.yaml").write_text(builtin.replace("\npresets:\n", WANTED.replace("33", "333")))
    (folder / "tiers.yaml").write_text((BUILT_IN / "tiers.yaml").read_text())
    await asyncio.sleep(0.2)  # ten looks
    assert await version(calls) == good
    assert (await calls.submit(sdxl=job, preset="sdxl_poster")).sdxl.config.steps == 33

    (folder / "presets.yaml").unlink()
    last = load(str(folder)).version
    await changes_to(calls, last)
    with pytest.raises(grpc.aio.AioRpcError, match="preset: must be one of"):
        await calls.submit(sdxl=job, preset="sdxl_poster")
    await audited(database_url, [first, good, last])


async def test_who_is_of_a_tier_that_was_dropped_is_told_so(calls: Calls, folder: Path) -> None:
    (folder / "tiers.yaml").write_text((BUILT_IN / "tiers.yaml").read_text().replace("  basic:\n", "  bronze:\n"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await changes_to(calls, load(str(folder)).version)
    assert (refused.value.code(), refused.value.details()) == (
        grpc.StatusCode.PERMISSION_DENIED, "your tier 'basic' no longer exists",
    )  # fmt: skip
