"""The keys of an issuer: which are taken, when they are read again, and how long they outlive a silent issuer."""

import asyncio
import json
from pathlib import Path
from typing import Any

import jwt
import pytest

from edge_service.auth import jwks
from edge_service.auth.issuer import MAX_BYTES, Issuer, check_url
from edge_service.auth.jwks import KeySet, KeysUnreadable, from_file, signing_keys
from tests.kit.issuer import Clock, Key, LocalIssuer, key_set

FOREVER = 3600.0


class Source:
    """Keys that a test sets, and how often they were read."""

    def __init__(self, *keys: Key) -> None:
        self.keys, self.reads, self.away = list(keys), 0, False
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self) -> dict[str, Any]:
        self.reads += 1
        await self.gate.wait()
        if self.away:
            raise KeysUnreadable("away")
        return key_set(*self.keys)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_key_is_for_one_algorithm(algorithm: str):
    [found] = signing_keys(key_set(Key("k", algorithm))).values()
    assert found.algorithm == algorithm


def test_secrets_and_weak_and_foreign_keys_are_never_taken():
    good = Key("good").public
    secret = {"kty": "oct", "kid": "secret", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256"}
    spoilt = [
        secret,
        {**secret, "kid": "secret2", "alg": "RS256"},
        {**Key("weak", "RS256", 1024).public},
        {**Key("other", "RS256").public, "alg": "RS512"},
        {**Key("encrypts", "RS256").public, "use": "enc"},
        {**Key("signs").public, "key_ops": ["sign"]},
        {**Key("ops").public, "key_ops": 7},
        {**Key("number").public, "x": 7},
        {**Key("numbers", "RS256").public, "n": [7]},
        {**Key("broken").public, "x": "AA"},
        {**Key("curve").public, "crv": "P-384"},
        {name: value for name, value in Key("nameless").public.items() if name != "kid"},
        "text",
    ]
    assert list(signing_keys({"keys": [*spoilt, good]})) == ["good"]
    with pytest.raises(KeysUnreadable, match="no key in it"):
        signing_keys({"keys": spoilt})


def test_of_a_private_key_only_what_is_public_is_read():
    key = Key("k")
    private = jwt.algorithms.ECAlgorithm.to_jwk(key.private, as_dict=True)
    assert "d" in private
    found = signing_keys({"keys": [{**private, "kid": "k"}]})["k"]
    assert not hasattr(found.key, "private_numbers")


@pytest.mark.parametrize("document", [{}, {"keys": 1}, {"keys": []}])
def test_what_is_no_set_is_refused(document: dict[str, Any]):
    with pytest.raises(KeysUnreadable):
        signing_keys(document)


async def test_a_flood_of_unknown_ids_reads_the_set_once(clock: Clock):
    source = Source(Key("first"))
    keys = KeySet(source.read, FOREVER, clock)
    source.gate.clear()
    waiting = [asyncio.create_task(keys.look()) for _ in range(100) if keys.may_look()]
    await asyncio.sleep(0)
    source.gate.set()
    await asyncio.gather(*waiting)
    assert (source.reads, keys.may_look()) == (1, False)
    clock.now += jwks.UNKNOWN_SECONDS
    assert keys.may_look()


async def test_a_key_that_the_issuer_drops_is_dropped(clock: Clock):
    first, second = Key("first"), Key("second")
    source = Source(first)
    keys = KeySet(source.read, FOREVER, clock)
    await keys.look()
    assert keys.get("first")
    version, source.keys = keys.version, [second]
    await keys.look()
    assert (keys.get("first"), keys.get("second") is not None, keys.version) == (None, True, version + 1)


async def test_the_last_good_set_outlives_a_silent_issuer_for_an_hour(clock: Clock):
    source = Source(Key("first"))
    keys = KeySet(source.read, FOREVER, clock)
    await keys.look()
    source.away = True
    clock.now += jwks.KEEP_SECONDS - 1
    await keys.look()
    assert keys.get("first")
    clock.now += 1
    assert keys.get("first") is None
    source.away = False
    await keys.look()
    assert keys.get("first")


async def test_a_mistake_of_ours_ends_no_following(clock: Clock, caplog: pytest.LogCaptureFixture):
    reads = 0

    async def read() -> dict[str, Any]:
        nonlocal reads
        reads += 1
        if reads < 3:
            raise ZeroDivisionError
        return key_set(Key("first"))

    keys = KeySet(read, 0.01, clock)
    keys.start()
    async with asyncio.timeout(5):
        while not keys.get("first"):
            await asyncio.sleep(0.01)
    await keys.close()
    assert "failed" in caplog.text


async def test_the_set_is_read_at_start_and_again_by_itself(clock: Clock):
    source = Source(Key("first"))
    keys = KeySet(source.read, 0.01, clock)
    keys.start()
    async with asyncio.timeout(5):
        while source.reads < 3:
            await asyncio.sleep(0.01)
    await keys.close()
    assert keys.get("first")


async def test_a_file_is_read_again_and_a_spoilt_one_changes_nothing(tmp_path: Path, clock: Clock):
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(key_set(Key("first"))))
    keys = KeySet(from_file(file), FOREVER, clock)
    await keys.look()
    for spoilt in ("", "{", "[]", "[" * 100_000, "{}"):
        file.write_text(spoilt)
        await keys.look()
        assert keys.get("first")
    file.unlink()
    await keys.look()
    assert keys.get("first")
    file.write_text(json.dumps(key_set(Key("second"))))
    await keys.look()
    assert (keys.get("first"), keys.get("second") is not None) == (None, True)


async def test_an_issuer_is_asked_where_its_keys_are(issuer: LocalIssuer):
    assert await Issuer(issuer.url).read() == key_set(*issuer.keys)
    assert await Issuer("http://elsewhere.example", f"{issuer.url}/keys").read() == key_set(*issuer.keys)


async def test_the_discovery_document_of_another_issuer_is_refused(issuer: LocalIssuer):
    with pytest.raises(KeysUnreadable, match="another issuer"):
        await Issuer(issuer.url + "/").read()


@pytest.mark.parametrize(("status", "body"), [(500, b""), (302, b""), (200, b"{" + b" " * MAX_BYTES), (200, b"<html>")])
async def test_an_answer_that_is_no_set_is_refused(issuer: LocalIssuer, status: int, body: bytes):
    issuer.status, issuer.body = status, body
    with pytest.raises(KeysUnreadable):
        await Issuer("http://127.0.0.1", f"{issuer.url}/keys").read()


async def test_an_issuer_that_is_away_is_no_mistake_of_ours(issuer: LocalIssuer):
    issuer.stop()
    with pytest.raises(KeysUnreadable, match="cannot be reached"):
        await Issuer(issuer.url).read()


@pytest.mark.parametrize(
    "url", ["http://issuer.example", "ftp://127.0.0.1/", "https://", "https://me@issuer.example", "/a"]
)
def test_keys_come_over_https_or_from_this_machine(url: str):
    with pytest.raises(ValueError, match="must be an https URL"):
        check_url(url)
    for good in ("https://issuer.example/a", "http://127.0.0.1:8080", "http://[::1]/keys", "http://localhost/x"):
        assert check_url(good) == good
