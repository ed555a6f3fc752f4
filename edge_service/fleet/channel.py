"""How the edge reaches workers, and proves to them that it is the edge."""

from collections.abc import Callable, Sequence
from typing import Any

import grpc

from shared.identity import Certificates, Secret

Metadata = tuple[tuple[str, str], ...]
Options = Sequence[tuple[str, Any]]


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
