"""URLs of assets: made on read, signed, expiring. `{public_base}/{bucket}/{key}?expires=...&signature=...`

A bucket signs its own; for the local folder the edge serves the bytes itself (`http.py`) and checks this signature.
Uploads always come to the edge (`receiving.py`), which looks at them before they are stored.
"""

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote, urlencode

from shared.assets import AssetStore

LIFETIME_SECONDS = 3600


@dataclass(frozen=True)
class Signed:
    """A URL and the Unix time after which it does not work."""

    url: str
    expires: int


class Announced(NamedTuple):
    """The bytes that an upload will have, as its URL is signed for them."""

    mime_type: str
    bytes: int
    sha256: str
    storage: int
    """What its owner may keep: asked for again when the bytes come, for any number may be announced before."""


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
        if not _is_number(expires) or int(expires) < time.time():
            return False
        return hmac.compare_digest(self._signature(key, int(expires)).encode(), signature.encode())

    def sign_upload(self, key: str, announced: Announced) -> Signed:
        """A URL that takes these bytes, and no others, for one key, for an hour."""
        expires = int(time.time()) + LIFETIME_SECONDS
        signature = self._upload_signature(key, announced, expires)
        query = urlencode({**announced._asdict(), "expires": expires, "signature": signature})
        return Signed(f"{self._base}/{self._assets.bucket}/{quote(key)}?{query}", expires)

    def announced(self, key: str, query: Mapping[str, str]) -> Announced | None:
        """The bytes that a URL was signed here for; None if it was not, or has expired."""
        size, storage, expires = (query.get(name, "") for name in ("bytes", "storage", "expires"))
        if not all(map(_is_number, (size, storage, expires))) or int(expires) < time.time():
            return None
        found = Announced(query.get("mime_type", ""), int(size), query.get("sha256", ""), int(storage))
        signature = self._upload_signature(key, found, int(expires))
        return found if hmac.compare_digest(signature.encode(), query.get("signature", "").encode()) else None

    def _signature(self, key: str, expires: int) -> str:
        return hmac.new(self.secret, f"{key}\n{expires}".encode(), sha256).hexdigest()

    def _upload_signature(self, key: str, announced: Announced, expires: int) -> str:
        # A secret of its own: no URL to read could ever be one to write.
        secret = hmac.new(self.secret, b"upload", sha256).digest()
        said = "\n".join(("PUT", key, *map(str, announced), str(expires)))
        return hmac.new(secret, said.encode(), sha256).hexdigest()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 19
