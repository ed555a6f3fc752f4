"""What an API key looks like: `atl_<id>_<random>`.

Half of the id is a MAC under the master secret, which all replicas share. Guessed keys are refused by it, before the
database or a cache is asked.
"""

import base64
import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

PREFIX = "atl_"
SHAPE = re.compile(r"(atl_[a-z2-7]{16})_[A-Za-z0-9_-]{43}")
RANDOM_BYTES = 32
MASTER_SECRET = "api_keys"
_HALF = 8


class Minted(NamedTuple):
    """A new key: its id and its secret."""

    id: str
    secret: str


def mint(master: bytes) -> Minted:
    """A new key, different from all others."""
    half = _letters(secrets.token_bytes(5))
    key_id = f"{PREFIX}{half}{_mac(master, half)}"
    return Minted(key_id, f"{key_id}_{secrets.token_urlsafe(RANDOM_BYTES)}")


def id_of(secret: str) -> str | None:
    """The id of what looks like a secret; None for anything else."""
    found = SHAPE.fullmatch(secret)
    return found[1] if found else None


def is_of(master: bytes, key_id: str) -> bool:
    """Whether a key of this id was made under this master secret, also if it has ended since."""
    half, mac = key_id[len(PREFIX) :][:_HALF], key_id[-_HALF:]
    return hmac.compare_digest(mac, _mac(master, half))


def digest(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def _mac(master: bytes, half: str) -> str:
    return _letters(hmac.digest(master, half.encode(), "sha256")[:5])


def _letters(five_bytes: bytes) -> str:
    return base64.b32encode(five_bytes).decode().lower()
