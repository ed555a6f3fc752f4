"""AssetService: what jobs made and owners uploaded."""

from collections.abc import AsyncIterator

from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from edge_service.doors.grpc.callers import Context, owner, principal
from edge_service.doors.grpc.pagination import before_token, page_token
from edge_service.use_cases.assets import PAGE_SIZE, Assets
from edge_service.use_cases.uploads import UploadImages


class AssetServicer(edge_pb2_grpc.AssetServiceServicer):
    """See the contract of AssetService."""

    def __init__(self, assets: Assets, uploads: UploadImages) -> None:
        self._assets, self._uploads = assets, uploads

    async def GetAsset(self, request: edge_pb2.GetAssetRequest, context: Context) -> edge_pb2.GetAssetResponse:
        return edge_pb2.GetAssetResponse(asset=await self._assets.get(owner(), request.key))

    async def ListAssets(self, request: edge_pb2.ListAssetsRequest, context: Context) -> edge_pb2.ListAssetsResponse:
        size = request.page_size if request.HasField("page_size") else PAGE_SIZE
        page = await self._assets.list(owner(), before_token(request.page_token), size)
        return edge_pb2.ListAssetsResponse(assets=page.assets, next_page_token=page_token(page.next))

    async def DownloadAsset(
        self, request: edge_pb2.DownloadAssetRequest, context: Context
    ) -> AsyncIterator[edge_pb2.DownloadAssetResponse]:
        async for chunk in self._assets.download(owner(), request.key):
            yield edge_pb2.DownloadAssetResponse(chunk=chunk)

    async def CreateUpload(
        self, request: edge_pb2.CreateUploadRequest, context: Context
    ) -> edge_pb2.CreateUploadResponse:
        prepared = await self._uploads.create(request, principal())
        return edge_pb2.CreateUploadResponse(asset=prepared.asset, url=prepared.url)

    async def DeleteAsset(self, request: edge_pb2.DeleteAssetRequest, context: Context) -> edge_pb2.DeleteAssetResponse:
        await self._assets.delete(owner(), request.key)
        return edge_pb2.DeleteAssetResponse()
