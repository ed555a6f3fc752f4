"""Uploads over HTTP: the bytes that CreateUpload announced, PUT to the URL that it signed for them.

Answers 201 with {"key", "width", "height"}, or an error as {"error": {"reason", "message"}}, with the reasons of gRPC.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atelier.contracts.errors import (
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
from atelier.contracts.media_types import sniff
from edge_service.adapters.asset_urls import Announced, AssetUrls
from edge_service.use_cases.uploads import UploadImages

CORS = {
    "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET, PUT",
    "Access-Control-Allow-Headers": "Content-Type", "Access-Control-Max-Age": "3600",
}  # fmt: skip
STATUSES: dict[type[AtelierError], int] = {
    InvalidRequest: 400, PermissionDenied: 403, AssetNotFound: 404, DeadlineExceeded: 408, ReferenceUnusable: 422,
    QuotaExceeded: 507, StorageUnavailable: 503, DatabaseUnavailable: 503,
}  # fmt: skip
# Who sends more slowly than that holds a turn that others wait for.
GRACE_SECONDS, SLOWEST_BYTES_A_SECOND = 10.0, 128 * 1024


def upload_routes(urls: AssetUrls, bucket: str, uploads: UploadImages) -> Sequence[Route]:
    """The routes that take uploads."""

    async def put(request: Request) -> Response:
        try:
            key = request.path_params["key"]
            kept = await uploads.receive(key, urls.announced(key, request.query_params), partial(_body, request))
            return JSONResponse({"key": kept.key, "width": kept.width, "height": kept.height}, 201, CORS)
        except AtelierError as error:
            plain = {"error": {"reason": reason_word(error), "message": error.message}}
            return JSONResponse(plain, STATUSES.get(type(error), 500), CORS)
        except ClientDisconnect:
            return Response(status_code=400)  # the client has gone and reads no answer

    async def options(request: Request) -> Response:
        return Response(status_code=204, headers=CORS)

    path = f"/{bucket}/{{key:path}}"
    return [Route(path, put, methods=["PUT"]), Route(path, options, methods=["OPTIONS"])]


async def _body(request: Request, announced: Announced) -> bytes:
    """The announced bytes. Raises InvalidRequest if they are others, DeadlineExceeded if they do not come."""
    said = request.headers.get("content-length", "none")
    if said != str(announced.bytes):
        raise InvalidRequest(Violation("Content-Length", f"must be {announced.bytes} as announced, got {said[:20]}"))
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
