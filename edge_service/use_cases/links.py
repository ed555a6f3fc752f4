"""Signed URLs in what leaves the edge."""

from edge_service.adapters.asset_urls import AssetUrls
from shared.pb.atelier.edge.v1 import edge_pb2


class Links:
    """Puts fresh signed URLs into what leaves the edge: they are never stored."""

    def __init__(self, urls: AssetUrls) -> None:
        self._urls = urls

    async def job(self, job: edge_pb2.Job) -> edge_pb2.Job:
        for callback in (job.sdxl_callback, job.wan_callback):
            for asset in callback.assets:
                asset.url = (await self._urls.sign(asset.key)).url
        return job

    async def asset(self, asset: edge_pb2.Asset) -> edge_pb2.Asset:
        signed = await self._urls.sign(asset.key)
        asset.url = signed.url
        asset.url_expires.seconds = signed.expires
        return asset
