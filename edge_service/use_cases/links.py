"""Signed URLs in what leaves the edge. They are made anew for each answer and never stored."""

from atelier.pb.edge.v1 import edge_pb2
from edge_service.adapters.asset_urls import AssetUrls
from edge_service.domain.kinds import kind_of


class Links:
    """Puts signed URLs into messages."""

    def __init__(self, urls: AssetUrls) -> None:
        self._urls = urls

    async def job(self, job: edge_pb2.Job) -> edge_pb2.Job:
        """The same job, with URLs for the assets of its callback."""
        if field := job.WhichOneof("callback"):
            callback = getattr(job, field)
            for asset in kind_of(callback).files(callback):
                asset.url = (await self._urls.sign(asset.key)).url
        return job

    async def asset(self, asset: edge_pb2.Asset) -> edge_pb2.Asset:
        """The same asset, with its URL."""
        signed = await self._urls.sign(asset.key)
        asset.url, asset.url_expires.seconds = signed.url, signed.expires
        return asset
