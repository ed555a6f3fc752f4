"""Uploading a reference image: announced first, then sent to a URL that was signed for exactly these bytes."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from atelier.contracts.errors import InvalidRequest, PermissionDenied, ReferenceUnusable, Violation
from atelier.contracts.media_types import JPEG, PNG, WEBP
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.accounts.tiers import tiers
from edge_service.adapters.asset_urls import Announced, AssetUrls
from edge_service.domain.principal import Principal
from edge_service.planning.permissions import require
from edge_service.references.sandbox import InvalidImage
from edge_service.references.uploads import Source, Uploads
from edge_service.use_cases.admission import Admission
from edge_service.use_cases.assets import Assets

ACCEPTED_TYPES = [media.mime_type for media in (PNG, JPEG, WEBP)]


class Prepared(NamedTuple):
    """An upload that is stored already, with `url` empty, or the URL that its bytes are to be sent to."""

    asset: edge_pb2.Asset
    url: str = ""


class UploadImages:
    """`create` announces an upload, `receive` takes its bytes."""

    def __init__(self, uploads: Uploads, urls: AssetUrls, assets: Assets, admission: Admission) -> None:
        self._uploads, self._urls, self._assets, self._admission = uploads, urls, assets, admission

    async def create(self, request: edge_pb2.CreateUploadRequest, caller: Principal) -> Prepared:
        """Raises PermissionDenied, QuotaExceeded, and InvalidRequest for what could never become an upload."""
        tier = tiers().tiers[caller.tier]
        require(tier, "references")
        await self._admission.count(caller)
        await self._uploads.check_storage(caller.user_id, tier.quotas.storage_bytes)
        announced = _announced(request, tier.quotas.storage_bytes)
        source = Source(caller.user_id, announced.sha256)
        if found := await self._uploads.find(source):
            return Prepared(await self._assets.get(caller.user_id, found.key))
        key = await self._uploads.key(source)
        asset = edge_pb2.Asset(key=key, type=job_pb2.ASSET_TYPE_IMAGE, mime_type=PNG.mime_type)
        return Prepared(asset, self._urls.sign_upload(key, announced).url)

    async def receive(
        self, key: str, announced: Announced | None, body: Callable[[Announced], Awaitable[bytes]]
    ) -> job_pb2.Reference:
        """Stores the bytes that `body` reads, for a key whose URL was signed. `announced` is None where it was not.

        Raises PermissionDenied, QuotaExceeded, ReferenceUnusable, and whatever `body` raises.
        """
        if announced is None:
            raise PermissionDenied("the URL is not signed for this, or has expired; ask CreateUpload for a new one")
        owner = key.partition("/")[0]
        async with self._uploads.limiter.slot(owner):
            await self._uploads.check_storage(owner, announced.storage)
            data = await body(announced)
            try:
                return await self._uploads.keep(Source(owner, announced.sha256), data, key)
            except InvalidImage as refused:
                raise ReferenceUnusable(f"this file {refused.why}") from None


def _announced(request: edge_pb2.CreateUploadRequest, storage: int) -> Announced:
    """What a request announces; `storage` is what its owner may keep, in bytes. Raises InvalidRequest."""
    broken = []
    if request.mime_type not in ACCEPTED_TYPES:
        broken.append(Violation("mime_type", f"must be one of {', '.join(ACCEPTED_TYPES)}"))
    if len(request.sha256) != 64:
        broken.append(Violation("sha256", f"must have 64 digits, got {len(request.sha256)}"))
    if broken:
        raise InvalidRequest(*broken)
    return Announced(request.mime_type, request.bytes, request.sha256, storage)
