"""How the edge reaches workers, and proves to them that it is the edge."""

from collections.abc import Callable, Sequence
from typing import Any

import grpc

from shared.identity import Certificates, Secret

Metadata = tuple[tuple[str, str], ...]
Options = Sequence[tuple[str, Any]]

OPTIONS = (
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2_000),  # how long a connection may take; a frozen peer's never comes about
    # Otherwise workers of one address, one after another, would share what gRPC remembers of failing to connect.
    ("grpc.use_local_subchannel_pool", 1),
)


class Channel:
    """A channel whose every call carries what proves the caller. Stubs are made of it as of any other."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Callable[[], Metadata]) -> None:
        self._channel, self._metadata = channel, metadata

    def unary_unary(self, method: str, **coding: Any) -> Callable[..., Any]:
        return self._signed(self._channel.unary_unary(method, **coding))

    def unary_stream(self, method: str, **coding: Any) -> Callable[..., Any]:
        return self._signed(self._channel.unary_stream(method, **coding))

    def _signed(self, call: Any) -> Callable[..., Any]:
        return lambda request, **options: call(request, metadata=self._metadata(), **options)

    async def close(self) -> None:
        await self._channel.close(None)


class Credentials:
    """What the edge shows to workers: a secret, certificates, both, or nothing."""

    def __init__(self, secret: Secret | None = None, certificates: Certificates | None = None, name: str = "") -> None:
        """`name` is that of every worker's certificate; empty where each has the host it is reached at."""
        self._secret, self._certificates = secret or Secret("", ""), certificates or Certificates("", "", "")
        self._name = name

    @property
    def version(self) -> object:
        """Changes when a new channel would be made of other certificates."""
        return self._certificates.current()

    def channel(self, address: str, options: Options) -> Channel:
        """A new channel; it connects at the first call."""
        return Channel(self._open(address, options), lambda: self._secret.metadata)

    def _open(self, address: str, options: Options) -> grpc.aio.Channel:
        if not self._certificates:
            return grpc.aio.insecure_channel(address, options=options)
        named = (("grpc.ssl_target_name_override", self._name),) if self._name else ()
        return grpc.aio.secure_channel(address, self._certificates.for_channel(), options=(*options, *named))


class Channels:
    """The channel to one worker: made at its first use, and replaced once the certificates have changed."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._opened: Channel | None = None
        self._version: object = None
        self._replaced: list[Channel] = []

    def to(self, address: str) -> Channel:
        """The channel that new calls take."""
        # Not made before: a channel belongs to the event loop that runs when it is made.
        if self._opened is None:
            self._version = self._credentials.version
            self._opened = self._credentials.channel(address, OPTIONS)
        return self._opened

    async def renew(self, idle: bool) -> None:
        """Lets new calls connect with the certificates of now, and closes the channels before once no job runs."""
        if self._opened is not None and self._version != self._credentials.version:
            self._replaced.append(self._opened)
            self._opened = None
        while self._replaced and idle:
            await self._replaced.pop().close()

    async def close(self) -> None:
        """Ends every call over any of them."""
        for channel in filter(None, (self._opened, *self._replaced)):
            await channel.close()
