"""HTTP requests on a user's behalf. No redirect is followed, no proxy asked, no body read; an answer is its status."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address

import httpcore2

from edge_service.addresses import Addresses, AddressRefused, Target

CONNECT_SECONDS, TOTAL_SECONDS = 5.0, 10.0
# A name may stand for many addresses; only so many are tried.
MOST_TRIED = 4
# Names that nobody answers for hold a thread for many seconds; they must not hold up the others.
RESOLVING_THREADS = 32

Resolve = Callable[[str, int], Awaitable[Iterable[str]]]


class Unanswered(Exception):
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


class Outgoing:
    """Sends requests to addresses that may be connected to."""

    def __init__(self, addresses: Addresses, resolve: Resolve | None = None) -> None:
        """`resolve` gives the IP addresses of a host and port. Default: as this machine resolves names."""
        self._addresses = addresses
        self._threads = ThreadPoolExecutor(RESOLVING_THREADS, "resolve")
        backend = _JudgingBackend(addresses, resolve or self._resolve)
        # No connection is kept: each delivery judges the address that it goes to. The certificates of the authorities
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
        """Posts a body. Raises Unanswered."""
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                return await self._post(self._addresses.target(url), headers, body)
        except AddressRefused:
            raise Unanswered("address not allowed") from None
        except (TimeoutError, httpcore2.TimeoutException):
            raise Unanswered("timed out") from None
        except httpcore2.ProtocolError:
            raise Unanswered("not an HTTP answer") from None
        except httpcore2.NetworkError as error:
            raise Unanswered("TLS failed" if _is_of_tls(error) else "connection failed") from None

    async def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        url = httpcore2.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        sent = {"Host": target.authority, **headers, "Content-Length": str(len(body))}
        limits = {"connect": CONNECT_SECONDS, "read": TOTAL_SECONDS, "write": TOTAL_SECONDS}
        request = self._pool.stream(
            "POST", url, headers=list(sent.items()), content=body, extensions={"timeout": limits}
        )
        async with request as response:
            found = (value for name, value in response.headers if name.lower() == b"retry-after")
            return Answer(response.status, next(found, b"").decode("latin-1"))

    async def _resolve(self, host: str, port: int) -> Iterable[str]:
        loop = asyncio.get_running_loop()
        look_up = loop.run_in_executor(self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        return [str(found[4][0]) for found in await look_up]


class _JudgingBackend(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were judged; TLS and the Host header keep the name."""

    def __init__(self, addresses: Addresses, resolve: Resolve) -> None:
        self._addresses, self._resolve, self._network = addresses, resolve, httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        async with asyncio.timeout(timeout):
            judged = await self._judged(host, port)
            for index, address in enumerate(judged, 1):
                try:
                    share = None if timeout is None else timeout / len(judged)
                    return await self._network.connect_tcp(address, port, share, local_address, socket_options)
                except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                    if index == len(judged):
                        raise
        raise Unanswered("name not found")

    async def _judged(self, host: str, port: int) -> list[str]:
        """The addresses of a host. One that is not allowed spoils them all: which is taken must not be luck."""
        try:
            found = list(dict.fromkeys(await self._resolve(host, port)))
        except OSError:
            raise Unanswered("name not found") from None
        for address in found:
            self._addresses.judge(ip_address(address.partition("%")[0]))
        return found[:MOST_TRIED]


def _is_of_tls(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None
