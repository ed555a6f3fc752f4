"""URLs of assets: made on read, signed, expiring. `{public_base}/{bucket}/{key}?expires=...&signature=...`

A bucket signs its own; for the local folder the edge serves the bytes itself (`http.py`) and checks this signature.
"""

import hmac
import time
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

from shared.assets import AssetStore

LIFETIME_SECONDS = 3600


@dataclass(frozen=True)
class Signed:
    """A URL and the Unix time after which it does not work."""

    url: str
    expires: int


class AssetUrls:
    """Signs and checks URLs with a secret that all replicas share."""

    secret: bytes
    """Set once the database, which keeps it, is open."""

    def __init__(self, public_base: str, assets: AssetStore) -> None:
        self._base, self._assets = public_base.rstrip("/"), assets

    async def sign(self, key: str) -> Signed:
        """A URL for one asset that works for an hour."""
        expires = int(time.time()) + LIFETIME_SECONDS
        if not self._assets.is_local:
            return Signed(await self._assets.sign(key, LIFETIME_SECONDS), expires)
        path = f"{self._assets.bucket}/{quote(key)}"
        return Signed(f"{self._base}/{path}?expires={expires}&signature={self._signature(key, expires)}", expires)

    def is_valid(self, key: str, expires: str, signature: str) -> bool:
        """Whether a URL was signed here for this key and has not expired."""
        if not expires.isascii() or not expires.isdigit() or len(expires) > 12 or int(expires) < time.time():
            return False
        return hmac.compare_digest(self._signature(key, int(expires)).encode(), signature.encode())

    def _signature(self, key: str, expires: int) -> str:
        return hmac.new(self.secret, f"{key}\n{expires}".encode(), sha256).hexdigest()
