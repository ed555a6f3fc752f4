"""The public keys of an issuer: read from a file or fetched, again and again, and never once per request.

A key that the issuer drops is dropped here at the next reading. While the issuer does not answer, the last good set
stays in force for KEEP_SECONDS, and then no token is taken until it answers again.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

log = logging.getLogger(__name__)

# How often the set is read again: a file costs nothing, an issuer is asked every five minutes.
FILE_SECONDS, ISSUER_SECONDS = 2.0, 300.0
# After one that failed, the next reading comes sooner.
AGAIN_SECONDS = 10.0
# Tokens with an unknown key id make us read the set again, but no more often than this, however many come.
UNKNOWN_SECONDS = 10.0
KEEP_SECONDS = 3600.0
MAX_KEYS, MIN_RSA_BITS = 100, 2048
# The algorithm belongs to the key, never to the token: a token that names another is refused.
ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
# Of a key in the set only what is public is read.
PUBLIC = ("kty", "n", "e", "crv", "x", "y")

# Reads the set as it is now. Raises KeysUnreadable.
Read = Callable[[], Awaitable[Mapping[str, Any]]]


class KeysUnreadable(Exception):
    """The set could not be had; the message says why, for the log."""


@dataclass(frozen=True)
class SigningKey:
    """A public key and the one algorithm it is used with."""

    algorithm: str
    key: Any


def signing_keys(document: Mapping[str, Any]) -> dict[str, SigningKey]:
    """The usable keys of a JWK Set by their ids. Raises KeysUnreadable if there is none."""
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise KeysUnreadable("it is no JWK Set")
    found: dict[str, SigningKey] = {}
    for entry in listed[:MAX_KEYS]:
        key_id = entry.get("kid") if isinstance(entry, dict) else None
        if isinstance(key_id, str) and key_id not in found and (key := _signing_key(entry)):
            found[key_id] = key
    if not found:
        raise KeysUnreadable("no key in it has an id and is for RS256, ES256 or EdDSA")
    return found


def _signing_key(entry: Mapping[str, Any]) -> SigningKey | None:
    """The key, if it is one that signatures of ours are checked with: secrets and private keys never are."""
    curve = entry.get("crv")
    algorithm = ALGORITHMS.get((str(entry.get("kty")), curve if isinstance(curve, str) else None))
    if algorithm is None or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    if "verify" not in _listed(entry.get("key_ops", ["verify"])):
        return None
    public = {name: entry[name] for name in PUBLIC if name in entry}
    try:
        key = jwt.PyJWK(public, algorithm=algorithm).key
    except Exception:  # whatever is wrong with it, it is no key, and the others of the set are
        return None
    return None if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS else SigningKey(algorithm, key)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


class KeySet:
    """The keys that are in force. `version` changes with them."""

    def __init__(self, read: Read, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._seconds, self._clock = read, seconds, clock
        self._keys: dict[str, SigningKey] = {}
        self._good_until = self._unknown_from = -1.0
        self._reading: asyncio.Task[bool] | None = None
        self._following: asyncio.Task[None] | None = None
        self.version = 0

    def start(self) -> None:
        """Reads the set now, and follows it until `close`."""
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        for task in filter(None, (self._following, self._reading)):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def get(self, key_id: str) -> SigningKey | None:
        """The key of this id, if it is in force."""
        return self._keys.get(key_id) if self.usable else None

    @property
    def usable(self) -> bool:
        """Whether there is a set, and not too old a one."""
        return self._clock() < self._good_until

    def may_look(self) -> bool:
        """Whether a token of an unknown key is a reason to read the set again now."""
        return self._reading is not None or self._clock() >= self._unknown_from

    async def look(self) -> None:
        """Reads the set again, once for all who wait for it."""
        self._unknown_from = self._clock() + UNKNOWN_SECONDS
        await self._refresh()

    async def _follow(self) -> None:
        while True:
            good = await self._refresh()
            await asyncio.sleep(self._seconds if good else min(AGAIN_SECONDS, self._seconds))

    async def _refresh(self) -> bool:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_once())
            self._reading.add_done_callback(self._read_ended)
        # Shielded: one caller's cancellation must not end it for the others.
        return await asyncio.shield(self._reading)

    def _read_ended(self, reading: "asyncio.Task[bool]") -> None:
        self._reading = None

    async def _read_once(self) -> bool:
        try:
            keys = signing_keys(await self._read())
        except KeysUnreadable as error:
            log.warning("the issuer's keys could not be read", extra={"why": str(error), "known": len(self._keys)})
            return False
        except Exception:
            log.exception("reading the issuer's keys failed")
            return False
        if keys != self._keys:
            log.info("the issuer's keys", extra={"keys": len(keys), "before": len(self._keys)})
            self._keys, self.version = keys, self.version + 1
        self._good_until = self._clock() + KEEP_SECONDS
        return True


def from_file(path: Path) -> Read:
    """Reads the set from a file."""

    async def read() -> Mapping[str, Any]:
        return await asyncio.to_thread(parsed_file, path)

    return read


def parsed_file(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file. Raises KeysUnreadable."""
    try:
        return parsed(path.read_bytes())
    except OSError as error:
        raise KeysUnreadable(f"{path}: {error.strerror}") from None


def parsed(text: bytes) -> Mapping[str, Any]:
    """A JSON object. Raises KeysUnreadable."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise KeysUnreadable("it is no JSON") from None
    if not isinstance(document, dict):
        raise KeysUnreadable("it is no JSON object")
    return document
