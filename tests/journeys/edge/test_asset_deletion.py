"""An owner deletes what a job made."""

import asyncio
import contextlib
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from atelier.contracts import errors
from atelier.pb.edge.v1 import edge_pb2
from edge_service.adapters.database import Database
from shared.assets import AssetStore
from tests.kit.edge import ANN, BOB, Calls, StartEdge

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture
async def channel(start_edge: StartEdge) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel((await start_edge()).address) as opened:
        yield opened


@pytest.fixture
async def key(ann: Calls, database: Database, assets: AssetStore) -> str:
    """An asset of Ann's."""
    job = await ann.submit(sdxl={"type": "sdxl_image_fast", "prompt": "a fox"})
    [stored] = await assets.put_all("ann", job.id, 1, [PICTURE])
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO assets (key, job_id, owner, type, mime_type, bytes, sha256)"
            " VALUES (%s, %s, 'ann', 'image', 'image/png', 108, '')",
            [stored.key, job.id],
        )
    return stored.key


async def delete(caller: Calls, key: str) -> None:
    await caller.assets.DeleteAsset(edge_pb2.DeleteAssetRequest(key=key), metadata=caller.metadata)


@contextlib.contextmanager
def refused_as_unknown():
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        yield
    assert isinstance(errors.from_rpc_error(raised.value), errors.AssetNotFound)


async def get(caller: Calls, key: str) -> edge_pb2.Asset:
    return (await caller.assets.GetAsset(edge_pb2.GetAssetRequest(key=key), metadata=caller.metadata)).asset


async def test_a_deleted_asset_is_seen_by_nobody_and_its_file_is_gone(ann: Calls, key: str, tmp_path: Path):
    url = (await get(ann, key)).url
    await delete(ann, key)
    with refused_as_unknown():
        await get(ann, key)
    with refused_as_unknown():
        await delete(ann, key)
    listed = await ann.assets.ListAssets(edge_pb2.ListAssetsRequest(), metadata=ann.metadata)
    assert list(listed.assets) == []
    assert not (tmp_path / "user-library" / key).exists()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        await asyncio.to_thread(urllib.request.urlopen, url)


async def test_nobody_deletes_what_is_anothers(channel: grpc.aio.Channel, ann: Calls, key: str, tmp_path: Path):
    with refused_as_unknown():
        await delete(Calls(channel, BOB), key)
    assert (await get(ann, key)).key == key
    assert (tmp_path / "user-library" / key).exists()


async def test_an_asset_is_deleted_even_while_the_store_is_away(
    ann: Calls, key: str, database: Database, monkeypatch: pytest.MonkeyPatch
):
    async def away(store: AssetStore, *keys: str) -> None:
        raise errors.StorageUnavailable("injected")

    monkeypatch.setattr(AssetStore, "delete", away)
    await delete(ann, key)
    with refused_as_unknown():
        await get(ann, key)
    async with database.connection() as connection:
        row = await (await connection.execute("SELECT deleted FROM assets")).fetchone()
    assert row is not None
    assert row["deleted"]  # housekeeping deletes the file of every such row


@pytest.fixture
def ann(channel: grpc.aio.Channel) -> Calls:
    return Calls(channel, ANN)
