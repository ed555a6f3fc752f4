"""What jobs made and owners uploaded."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC

from edge_service.accounts.tiers import tiers
from edge_service.adapters.asset_urls import AssetUrls
from edge_service.doors.grpc.callers import Context, owner, principal
from edge_service.doors.grpc.pagination import before_token, page_token
from edge_service.doors.http.uploads import announcement
from edge_service.planning.permissions import require
from edge_service.queue.store import Store
from edge_service.references.uploads import Source, Uploads
from edge_service.use_cases.links import Links
from edge_service.use_cases.submit_job import count
from shared import errors
from shared.assets import PNG, AssetStore
from shared.pb.atelier.edge.v1 import edge_pb2, edge_pb2_grpc
from shared.pb.atelier.job.v1 import job_pb2

PAGE_SIZE = 20


class AssetServicer(edge_pb2_grpc.AssetServiceServicer):
    """What jobs made and owners uploaded."""

    def __init__(self, store: Store, assets: AssetStore, links: Links, uploads: Uploads, urls: AssetUrls) -> None:
        self._store, self._assets, self._links = store, assets, links
        self._uploads, self._urls = uploads, urls

    async def GetAsset(self, request: edge_pb2.GetAssetRequest, context: Context) -> edge_pb2.GetAssetResponse:
        asset = await self._store.asset(owner(), request.key)
        return edge_pb2.GetAssetResponse(asset=await self._links.asset(asset))

    async def ListAssets(self, request: edge_pb2.ListAssetsRequest, context: Context) -> edge_pb2.ListAssetsResponse:
        size = request.page_size if request.HasField("page_size") else PAGE_SIZE
        assets = await self._store.assets(owner(), before_token(request.page_token), size + 1)
        token = page_token(assets[size - 1].created.ToDatetime(UTC), assets[size - 1].key) if len(assets) > size else ""
        page = [await self._links.asset(asset) for asset in assets[:size]]
        return edge_pb2.ListAssetsResponse(assets=page, next_page_token=token)

    async def DownloadAsset(
        self, request: edge_pb2.DownloadAssetRequest, context: Context
    ) -> AsyncIterator[edge_pb2.DownloadAssetResponse]:
        asset = await self._store.asset(owner(), request.key)
        async for chunk in self._assets.stream(asset.key):
            yield edge_pb2.DownloadAssetResponse(chunk=chunk)

    async def CreateUpload(
        self, request: edge_pb2.CreateUploadRequest, context: Context
    ) -> edge_pb2.CreateUploadResponse:
        tier = tiers().tiers[principal().tier]
        require(tier, "references")
        await count(self._store)
        await self._store.accounts.check_storage(owner(), tier.quotas.storage_bytes)
        announced = announcement(request, tier.quotas.storage_bytes)
        source = Source(owner(), announced.sha256)
        if found := await self._uploads.find(source):
            asset = await self._links.asset(await self._store.asset(owner(), found.key))
            return edge_pb2.CreateUploadResponse(asset=asset)
        key = await self._uploads.key(source)
        asset = edge_pb2.Asset(key=key, type=job_pb2.ASSET_TYPE_IMAGE, mime_type=PNG.mime_type)
        return edge_pb2.CreateUploadResponse(asset=asset, url=self._urls.sign_upload(key, announced).url)

    async def DeleteAsset(self, request: edge_pb2.DeleteAssetRequest, context: Context) -> edge_pb2.DeleteAssetResponse:
        await self._store.delete_asset(owner(), request.key)
        with contextlib.suppress(errors.StorageUnavailable):  # housekeeping tries again until it is gone
            await self._assets.delete(request.key)
        return edge_pb2.DeleteAssetResponse()
