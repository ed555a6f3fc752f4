"""The caller's own assets: what jobs made and what was uploaded."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import NamedTuple

from atelier.contracts.errors import StorageUnavailable
from atelier.pb.edge.v1 import edge_pb2
from edge_service.queue.store import Store
from edge_service.use_cases.links import Links
from shared.assets import AssetStore

PAGE_SIZE = 20


class AssetPage(NamedTuple):
    """Some of the assets, and where the next page begins: creation time and key of the last one; None at the end."""

    assets: list[edge_pb2.Asset]
    next: tuple[datetime, str] | None


class Assets:
    """Every call is about assets of one owner; those of others raise AssetNotFound."""

    def __init__(self, store: Store, files: AssetStore, links: Links) -> None:
        self._store, self._files, self._links = store, files, links

    async def get(self, owner: str, key: str) -> edge_pb2.Asset:
        """One asset with a signed URL. Raises AssetNotFound."""
        return await self._links.asset(await self._store.asset(owner, key))

    async def list(self, owner: str, before: tuple[datetime, str] | None, size: int = PAGE_SIZE) -> AssetPage:
        """A page of assets, newest first."""
        found = await self._store.assets(owner, before, size + 1)
        last = found[size - 1] if len(found) > size else None
        page = [await self._links.asset(asset) for asset in found[:size]]
        return AssetPage(page, (last.created.ToDatetime(UTC), last.key) if last else None)

    async def download(self, owner: str, key: str) -> AsyncIterator[bytes]:
        """The bytes of one asset, in chunks. Raises AssetNotFound, StorageUnavailable."""
        asset = await self._store.asset(owner, key)
        async for chunk in self._files.stream(asset.key):
            yield chunk

    async def delete(self, owner: str, key: str) -> None:
        """Raises AssetNotFound, and JobNotEnded if an open job needs it."""
        await self._store.delete_asset(owner, key)
        with contextlib.suppress(StorageUnavailable):  # retention tries again until it is gone
            await self._files.delete(key)
