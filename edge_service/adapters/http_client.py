"""HTTP requests on a user's behalf. No proxy is asked, no cookie kept, every address checked when it is connected to.

`post` follows no redirect and reads no body: its answer is a status. `get` reads a body within limits, and checks each
hop of the way to it anew.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urljoin

import httpcore2

from edge_service.adapters.url_guard import AddressRefused, Target, UrlGuard

CONNECT_SECONDS, TOTAL_SECONDS = 5.0, 10.0
MAX_REDIRECTS = 3
REDIRECTS = (301, 302, 303, 307, 308)
# What is asked with a GET. Compressed bytes could be a bomb, and a picture is compressed already.
GET_HEADERS = {"Accept": "image/png, image/jpeg, image/webp", "Accept-Encoding": "identity", "User-Agent": "Atelier"}
# A name may stand for many addresses; only so many are tried.
MAX_TRIED = 4
# Looking up a name without an answering server holds a thread for many seconds; it must not hold up the others.
RESOLVING_THREADS = 32

Resolve = Callable[[str, int], Awaitable[Iterable[str]]]


class RequestFailed(Exception):
    """No answer came. `why` is a few words for people, without anything of the URL or of the other side."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    retry_after: str
    """The header of that name; empty if there was none."""


class GuardedHttpClient:
    """Sends requests to addresses that may be connected to."""

    def __init__(self, guard: UrlGuard, resolve: Resolve | None = None) -> None:
        """`resolve` gives the IP addresses of a host and port. Default: as this machine resolves names."""
        self._guard = guard
        self._threads = ThreadPoolExecutor(RESOLVING_THREADS, "resolve")
        backend = _GuardedBackend(guard, resolve or self._resolve)
        # No connection is kept: each delivery checks the address that it goes to. The certificates of the authorities
        # are read once: it takes a while.
        self._pool = httpcore2.AsyncConnectionPool(
            httpcore2.default_ssl_context(),
            network_backend=backend,
            max_connections=None,
            max_keepalive_connections=0,
        )

    async def close(self) -> None:
        await self._pool.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Posts a body. Raises RequestFailed."""
        with _worded():
            async with asyncio.timeout(TOTAL_SECONDS):
                sent = {**headers, "Content-Length": str(len(body))}
                async with self._answered("POST", self._guard.target(url), sent, body) as response:
                    return Answer(response.status, _header(response, b"retry-after"))

    async def get(self, url: str, most_bytes: int) -> bytes:
        """The body that a URL leads to, over at most three redirects. What the other side says of it is not believed.

        Raises RequestFailed, also for a status other than 200 and a body that is compressed or above `most_bytes`.
        """
        with _worded():
            async with asyncio.timeout(TOTAL_SECONDS):
                for _ in range(MAX_REDIRECTS + 1):
                    async with self._answered("GET", self._guard.target(url), GET_HEADERS, None) as response:
                        if response.status not in REDIRECTS:
                            return await _body(response, most_bytes)
                        url = _next(url, _header(response, b"location"))
        raise RequestFailed(f"more than {MAX_REDIRECTS} redirects")

    @contextlib.asynccontextmanager
    async def _answered(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None
    ) -> AsyncIterator[httpcore2.Response]:
        url = httpcore2.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        sent = {"Host": target.authority, **headers}
        limits = {"connect": CONNECT_SECONDS, "read": TOTAL_SECONDS, "write": TOTAL_SECONDS}
        request = self._pool.stream(
            method, url, headers=list(sent.items()), content=body, extensions={"timeout": limits}
        )
        async with request as response:
            yield response

    async def _resolve(self, host: str, port: int) -> Iterable[str]:
        loop = asyncio.get_running_loop()
        look_up = loop.run_in_executor(self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        return [str(found[4][0]) for found in await look_up]


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were checked; TLS and the Host header keep the name."""

    def __init__(self, guard: UrlGuard, resolve: Resolve) -> None:
        self._guard, self._resolve, self._network = guard, resolve, httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        async with asyncio.timeout(timeout):
            allowed = await self._allowed(host, port)
            for index, address in enumerate(allowed, 1):
                try:
                    share = None if timeout is None else timeout / len(allowed)
                    return await self._network.connect_tcp(address, port, share, local_address, socket_options)
                except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                    if index == len(allowed):
                        raise
        raise RequestFailed("name not found")

    async def _allowed(self, host: str, port: int) -> list[str]:
        """The addresses of a host. Raises AddressRefused if any is not allowed: which one is taken is arbitrary."""
        try:
            found = list(dict.fromkeys(await self._resolve(host, port)))
        except OSError:
            raise RequestFailed("name not found") from None
        for address in found:
            self._guard.check_address(ip_address(address.partition("%")[0]))
        return found[:MAX_TRIED]


@contextlib.contextmanager
def _worded() -> Iterator[None]:
    """Names every failure in words of ours: those of the server are not trusted."""
    try:
        yield
    except AddressRefused:
        raise RequestFailed("address not allowed") from None
    except (TimeoutError, httpcore2.TimeoutException):
        raise RequestFailed("timed out") from None
    except httpcore2.ProtocolError:
        raise RequestFailed("not an HTTP answer") from None
    except httpcore2.NetworkError as error:
        raise RequestFailed("TLS failed" if _is_of_tls(error) else "connection failed") from None


def _header(response: httpcore2.Response, wanted: bytes) -> str:
    found = (value for name, value in response.headers if name.lower() == wanted)
    return next(found, b"").decode("latin-1")


def _next(url: str, location: str) -> str:
    """Where a redirect leads. Its text is checked as any other's, so it cannot leave http, nor carry a password."""
    if not location:
        raise RequestFailed("a redirect that leads nowhere")
    try:
        following = urljoin(url, location)
    except ValueError:
        raise RequestFailed("a redirect that leads nowhere") from None
    if url.lower().startswith("https:") and following.lower().startswith("http:"):
        raise RequestFailed("a redirect from https to http")
    return following


async def _body(response: httpcore2.Response, most_bytes: int) -> bytes:
    if response.status != 200:
        raise RequestFailed(f"answered with status {response.status}")
    if _header(response, b"content-encoding").lower() not in ("", "identity"):
        raise RequestFailed("the answer is compressed")
    length = _header(response, b"content-length")
    announced = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0
    body = bytearray()
    too_large = RequestFailed(f"larger than {most_bytes} bytes")
    if announced > most_bytes:
        raise too_large
    async for piece in response.aiter_stream():
        body += piece
        if len(body) > most_bytes:
            raise too_large
    return bytes(body)


def _is_of_tls(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None
