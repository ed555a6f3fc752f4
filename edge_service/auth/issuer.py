"""Asks an OpenID Connect issuer where its keys are, and for them. The operator names it, so any network will do."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpcore2

from edge_service.auth.jwks import KeysUnreadable, parsed
from shared.identity import is_loopback

DISCOVERY = "/.well-known/openid-configuration"
TOTAL_SECONDS = 10.0
MAX_BYTES = 2**20
OK = 200


def check_url(url: str) -> str:
    """The URL. Raises ValueError unless it is https, or http on this machine."""
    found = urlsplit(url)
    secure = found.scheme == "https" or (found.scheme == "http" and is_loopback(f"{found.hostname}:0"))
    if not secure or not found.hostname or found.username or found.fragment:
        raise ValueError("must be an https URL without user and fragment; http is for this machine alone")
    return url


class Issuer:
    """An issuer whose keys are fetched."""

    def __init__(self, issuer: str, keys_url: str = "") -> None:
        """`keys_url` is where its keys are; empty asks its discovery document each time."""
        self._issuer, self._keys_url = issuer, keys_url

    async def read(self) -> Mapping[str, Any]:
        """Its keys, a JWK Set. Raises KeysUnreadable."""
        try:
            async with asyncio.timeout(TOTAL_SECONDS), _pool() as pool:
                return await _fetch(pool, self._keys_url or await self._discovered(pool))
        except (TimeoutError, httpcore2.TimeoutException):
            raise KeysUnreadable("the issuer did not answer in time") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            raise KeysUnreadable(f"the issuer cannot be reached: {type(error).__name__}") from None

    async def _discovered(self, pool: httpcore2.AsyncConnectionPool) -> str:
        document = await _fetch(pool, self._issuer.rstrip("/") + DISCOVERY)
        if document.get("issuer") != self._issuer:
            raise KeysUnreadable("the discovery document is that of another issuer")
        try:
            return check_url(str(document.get("jwks_uri", "")))
        except ValueError:
            raise KeysUnreadable("the discovery document names no https address of keys") from None


def _pool() -> httpcore2.AsyncConnectionPool:
    return httpcore2.AsyncConnectionPool(httpcore2.default_ssl_context(), max_keepalive_connections=0)


async def _fetch(pool: httpcore2.AsyncConnectionPool, url: str) -> Mapping[str, Any]:
    """A JSON object. No redirect is followed, and no more is read than a set of keys can have."""
    limits = dict.fromkeys(("connect", "read", "write", "pool"), TOTAL_SECONDS)
    headers = [("Accept", "application/json")]
    async with pool.stream("GET", url, headers=headers, extensions={"timeout": limits}) as response:
        if response.status != OK:
            raise KeysUnreadable(f"the issuer answered {response.status}")
        body = bytearray()
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > MAX_BYTES:
                raise KeysUnreadable(f"the issuer sent more than {MAX_BYTES} bytes")
    return parsed(bytes(body))
