"""The small HTTP side of the edge: assets by signed URL, with ranges, and /metrics. Uploads are in `receiving.py`."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from atelier.contracts.errors import AssetNotFound, StorageUnavailable
from edge_service.adapters.asset_urls import AssetUrls
from shared.assets import AssetStore, media_of_key

# A signed URL is the permission; any page of the caller's may show the picture.
HEADERS = {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes"}


DIGITS = re.compile("[0-9]{1,18}")


def application(urls: AssetUrls, assets: AssetStore, *more: Route) -> Starlette:
    """The ASGI application, with routes that others bring."""

    async def asset(request: Request) -> Response:
        key = request.path_params["key"]
        query = request.query_params
        if not urls.is_valid(key, query.get("expires", ""), query.get("signature", "")):
            return PlainTextResponse("the URL is not signed, or has expired; ask GetAsset for a new one", 403)
        return await _serve(assets, key, request.headers.get("range"))

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/metrics", metrics), Route(f"/{assets.bucket}/{{key:path}}", asset), *more]
    return Starlette(routes=routes, exception_handlers={AssetNotFound: _gone, StorageUnavailable: _unavailable})


async def _serve(assets: AssetStore, key: str, range_header: str | None) -> Response:
    size = await assets.size(key)
    span = _span(range_header, size) if range_header else (0, size)
    if span is None:
        return Response(status_code=416, headers={**HEADERS, "Content-Range": f"bytes */{size}"})
    start, end = span
    headers = {**HEADERS, "Content-Length": str(end - start)}
    if range_header:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    body = assets.stream(key, start, end)
    return StreamingResponse(body, 206 if range_header else 200, headers, media_of_key(key).mime_type)


def _span(header: str, size: int) -> tuple[int, int] | None:
    """First byte and one past the last of a Range header with one range; None if it cannot be satisfied."""
    unit, _, span = header.partition("=")
    first, dash, last = span.strip().partition("-")
    if unit.strip() != "bytes" or not dash or not all(part == "" or DIGITS.fullmatch(part) for part in (first, last)):
        return None
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
    else:
        start, end = max(size - int(last or 0), 0), size
    return (start, end) if start < end else None


class HttpServer:
    """Runs the application inside the edge's event loop."""

    def __init__(self, listen: str) -> None:
        """Binds at once, so that the address is known; raises SystemExit if it is taken."""
        host, _, port = listen.rpartition(":")
        try:
            self._socket = socket.create_server((host.strip("[]"), int(port)), family=_family(host))
        except OSError as error:
            raise SystemExit(f"cannot listen on {listen}: {error.strerror}") from None
        self.address = f"{host}:{self._socket.getsockname()[1]}"
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, app: Callable[..., Awaitable[None]]) -> None:
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        # The process has its own signal handlers; uvicorn must not put its own over them.
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[assignment]
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    async def close(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
        self._socket.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def _gone(request: Request, error: Exception) -> Response:
    return PlainTextResponse("this asset does not exist any more", 404)


async def _unavailable(request: Request, error: Exception) -> Response:
    return PlainTextResponse("the asset store cannot be read now", 503)
