"""Uploads over HTTP: the bytes that CreateUpload announced, PUT to the URL that it signed for them.

Answers 201 with {"key", "width", "height"}, or an error as {"error": {"reason", "message"}}, with the reasons of gRPC.
"""

import asyncio
import hashlib
from collections.abc import Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge_service.adapters.asset_urls import Announced, AssetUrls
from edge_service.references.sandbox import PictureRefused
from edge_service.references.uploads import Source, Uploads
from shared.assets import JPEG, PNG, WEBP, sniff
from shared.errors import (
    AssetNotFound,
    AtelierError,
    DatabaseUnavailable,
    DeadlineExceeded,
    InvalidRequest,
    PermissionDenied,
    QuotaExceeded,
    ReferenceUnusable,
    StorageUnavailable,
    Violation,
    reason_word,
)
from shared.pb.atelier.edge.v1 import edge_pb2

CORS = {
    "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET, PUT",
    "Access-Control-Allow-Headers": "Content-Type", "Access-Control-Max-Age": "3600",
}  # fmt: skip
STATUSES: dict[type[AtelierError], int] = {
    InvalidRequest: 400, PermissionDenied: 403, AssetNotFound: 404, DeadlineExceeded: 408, ReferenceUnusable: 422,
    QuotaExceeded: 507, StorageUnavailable: 503, DatabaseUnavailable: 503,
}  # fmt: skip
TAKEN = [media.mime_type for media in (PNG, JPEG, WEBP)]
# Who sends more slowly than that holds a turn that others wait for.
GRACE_SECONDS, SLOWEST_BYTES_A_SECOND = 10.0, 128 * 1024


def announcement(request: edge_pb2.CreateUploadRequest, storage: int) -> Announced:
    """What a request announces; `storage` is what its owner may keep. Raises InvalidRequest for what could never become
    an upload."""
    broken = []
    if request.mime_type not in TAKEN:
        broken.append(Violation("mime_type", f"must be one of {', '.join(TAKEN)}"))
    if len(request.sha256) != 64:
        broken.append(Violation("sha256", f"must have 64 digits, got {len(request.sha256)}"))
    if broken:
        raise InvalidRequest(*broken)
    return Announced(request.mime_type, request.bytes, request.sha256, storage)


def upload_routes(urls: AssetUrls, bucket: str, uploads: Uploads) -> Sequence[Route]:
    """The routes that take uploads."""

    async def put(request: Request) -> Response:
        try:
            key = request.path_params["key"]
            announced = urls.announced(key, request.query_params)
            if announced is None:
                raise PermissionDenied("the URL is not signed for this, or has expired; ask CreateUpload for a new one")
            return await _take(request, key, announced, uploads)
        except AtelierError as error:
            plain = {"error": {"reason": reason_word(error), "message": error.message}}
            return JSONResponse(plain, STATUSES.get(type(error), 500), CORS)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it

    async def options(request: Request) -> Response:
        return Response(status_code=204, headers=CORS)

    path = f"/{bucket}/{{key:path}}"
    return [Route(path, put, methods=["PUT"]), Route(path, options, methods=["OPTIONS"])]


async def _take(request: Request, key: str, announced: Announced, uploads: Uploads) -> Response:
    said = request.headers.get("content-length", "none")
    if said != str(announced.bytes):
        raise InvalidRequest(Violation("Content-Length", f"must be {announced.bytes} as announced, got {said[:20]}"))
    owner = key.partition("/")[0]
    async with uploads.limiter.slot(owner):
        await uploads.check_storage(owner, announced.storage)
        data = await _body(request, announced)
        try:
            kept = await uploads.keep(Source(owner, announced.sha256), data, key)
        except PictureRefused as refused:
            raise ReferenceUnusable(f"this file {refused.why}") from None
    return JSONResponse({"key": kept.key, "width": kept.width, "height": kept.height}, 201, CORS)


async def _body(request: Request, announced: Announced) -> bytes:
    """The announced bytes. Raises InvalidRequest if they are others, DeadlineExceeded if they do not come."""
    data, seconds = bytearray(), GRACE_SECONDS + announced.bytes / SLOWEST_BYTES_A_SECOND
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                data += piece
                # Sent in chunks, a body is as long as it likes, whatever its Content-Length says.
                if len(data) > announced.bytes:
                    raise InvalidRequest(Violation("body", f"must be {announced.bytes} bytes as announced, got more"))
    except TimeoutError:
        raise DeadlineExceeded(f"the bytes did not come within {seconds:.0f} seconds") from None
    if len(data) != announced.bytes or hashlib.sha256(data).hexdigest() != announced.sha256:
        raise InvalidRequest(Violation("sha256", "these are not the bytes that were announced"))
    if (found := _mime_type(data)) not in ("", announced.mime_type):
        raise InvalidRequest(
            Violation("mime_type", f"was announced as {announced.mime_type}, and the bytes are {found}")
        )
    return bytes(data)


def _mime_type(data: bytes | bytearray) -> str:
    try:
        return sniff(bytes(data[:12])).mime_type
    except ValueError:
        return ""
