"""Which JSON Web Tokens are taken, and what is made of their claims."""

import base64
import hashlib
import hmac
import json
import re
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from atelier.contracts.errors import Unauthenticated
from atelier.pb.edge.v1 import edge_pb2
from edge_service.auth import jwt as jwt_tokens
from edge_service.auth.jwks import KeySet
from edge_service.auth.jwt import MAX_CHARACTERS, JwtTokens, Rules, user_id
from edge_service.auth.jwt import scopes as scopes_of
from edge_service.auth.rpc_scopes import ORDINARY
from edge_service.domain.principal import Principal
from tests.kit.issuer import AUDIENCE, Clock, Key, key_set, token

ISSUER = "https://issuer.example"
KEYS = {algorithm: Key(algorithm, algorithm) for algorithm in ("RS256", "ES256", "EdDSA")}
NOW = int(time.time())


class Source:
    def __init__(self) -> None:
        self.keys, self.reads = list(KEYS.values()), 0

    async def read(self) -> dict[str, Any]:
        self.reads += 1
        return key_set(*self.keys)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
async def tokens(source: Source, clock: Clock) -> JwtTokens:
    keys = KeySet(source.read, 3600, clock)
    await keys.look()
    return JwtTokens(Rules(ISSUER, AUDIENCE, lambda: {"guest", "basic", "admin"}), keys)


def owner(tokens: JwtTokens, text: str) -> Principal:
    found = tokens.owner(text)
    assert isinstance(found, Principal)
    return found


def good(**claims: Any) -> str:
    return token(KEYS["ES256"], ISSUER, **claims)


def forged(header: dict[str, Any], secret: bytes) -> str:
    """A token of a good body, with this header, and an HMAC where its signature should be."""
    body = good().split(".")[1]
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    mac = hmac.digest(secret, f"{head}.{body}".encode(), hashlib.sha256)
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_good_token_is_taken_whatever_its_algorithm(tokens: JwtTokens, algorithm: str):
    text = token(KEYS[algorithm], ISSUER, atelier_tier="basic", scope="openid jobs.read chat")
    found = owner(tokens, text)
    assert (found.tier, found.scopes, found.content_mode) == ("basic", {"jobs.read", "chat"}, None)
    assert owner(tokens, text) is found  # remembered


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"exp": NOW - 31}, "has expired"),
        ({"nbf": NOW + 3600}, "not valid yet"),
        ({"iat": NOW + 3600}, "not valid yet"),
        ({"aud": "another"}, "another audience"),
        ({"aud": [AUDIENCE + "2"]}, "another audience"),
        ({"aud": None}, "lacks a claim"),
        ({"iss": ISSUER + "/"}, "another issuer"),
        ({"iss": None}, "lacks a claim"),
        ({"exp": None}, "lacks a claim"),
        ({"iat": None}, "lacks a claim"),
        ({"sub": None}, "lacks a claim"),
        ({"sub": ""}, "sub"),
        ({"sub": "x" * 256}, "1 to 255 characters"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": float("inf")}, "malformed"),
        ({"exp": [1]}, "malformed"),
    ],
)
def test_a_token_that_does_not_hold_is_refused_and_told_why(tokens: JwtTokens, claims: dict[str, Any], says: str):
    with pytest.raises(Unauthenticated, match=says):
        tokens.owner(good(**claims))


def test_clocks_may_differ_by_the_skew_and_no_more(tokens: JwtTokens):
    now = int(time.time())
    assert owner(tokens, good(exp=now - 20))
    assert owner(tokens, good(nbf=now + 20, iat=now + 20))
    assert owner(tokens, good(aud=["another", AUDIENCE]))


def test_a_subject_that_is_no_text_is_refused(tokens: JwtTokens):
    for subject in (7, ["ann"], True):
        text = jwt.api_jws.encode(
            json.dumps({"iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 3600, "sub": subject}).encode(),
            KEYS["ES256"].private, "ES256", {"kid": "ES256"},
        )  # fmt: skip
        with pytest.raises(Unauthenticated):
            tokens.owner(text)


def test_a_token_signed_with_another_key_under_a_known_id_is_refused(tokens: JwtTokens):
    for algorithm in KEYS:
        with pytest.raises(Unauthenticated, match="signature is not that of its key"):
            tokens.owner(token(Key(algorithm, algorithm), ISSUER))


@pytest.mark.parametrize("algorithm", ["HS256", "hs256", "HS384", "none", "None", "RS512", "ES256", "", 7, None])
def test_the_algorithm_is_the_keys_and_never_the_tokens(tokens: JwtTokens, algorithm: Any):
    """With HS256 and the public key as its secret a careless server takes anything."""
    key = KEYS["RS256"].private.public_key()
    forms = [
        key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        json.dumps(KEYS["RS256"].public).encode(),
        b"",
    ]
    for secret in forms:
        text = forged({"alg": algorithm, "kid": "RS256", "typ": "JWT"}, secret)
        for sent in (text, text.rpartition(".")[0] + "."):
            with pytest.raises(Unauthenticated):
                tokens.owner(sent)


def test_a_key_that_the_token_brings_along_is_not_looked_at(tokens: JwtTokens):
    mine = Key("ES256")
    for headers in (
        {"jwk": mine.public},
        {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example"},
    ):
        with pytest.raises(Unauthenticated, match="signature"):
            tokens.owner(token(mine, ISSUER, headers))


@pytest.mark.parametrize("key_id", [None, 7, ["RS256"], {"a": 1}])
def test_a_token_without_a_key_id_is_refused(tokens: JwtTokens, key_id: Any):
    with pytest.raises(Unauthenticated):
        tokens.owner(forged({"alg": "RS256", "kid": key_id}, b""))


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a.b.c", "é.é.é", "e30.e30.", "e30.e30.e30", "." * 100, "W10.W10.W10", "bnVsbA.bnVsbA.bnVsbA",
     base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=") + ".e30.e30"],
)  # fmt: skip
def test_garbage_is_refused(tokens: JwtTokens, text: str):
    with pytest.raises(Unauthenticated):
        tokens.owner(text)


def test_a_huge_token_is_refused_by_its_length(tokens: JwtTokens):
    with pytest.raises(Unauthenticated, match=f"{MAX_CHARACTERS} are taken"):
        tokens.owner(good(extra="x" * MAX_CHARACTERS))


async def test_an_unknown_key_makes_us_look_once_and_a_flood_of_them_no_more(
    tokens: JwtTokens, source: Source, clock: Clock
):
    clock.now += 10
    fresh = Key("fresh")
    source.keys.append(fresh)
    looking = tokens.owner(token(fresh, ISSUER))
    assert not isinstance(looking, Principal)
    assert (await looking).user_id == user_id(ISSUER, "ann")
    reads = source.reads
    for number in range(200):
        with pytest.raises(Unauthenticated, match="no key of the token's id"):
            tokens.owner(token(Key(f"unknown{number}", "EdDSA"), ISSUER))
    assert source.reads == reads


async def test_a_token_is_forgotten_with_its_key(tokens: JwtTokens, source: Source):
    text = good()
    assert owner(tokens, text)
    source.keys = [KEYS["RS256"]]
    await tokens._keys.look()
    with pytest.raises(Unauthenticated, match="no key of the token's id"):
        tokens.owner(text)


async def test_nobody_is_let_in_on_keys_that_are_too_old(tokens: JwtTokens, source: Source, clock: Clock):
    text = good()
    assert owner(tokens, text)
    clock.now += 3600
    looking = tokens.owner(text)
    assert not isinstance(looking, Principal)  # it asks the issuer first
    assert await looking


def test_a_remembered_token_expires_all_the_same(tokens: JwtTokens, monkeypatch: pytest.MonkeyPatch):
    text = good(exp=int(time.time()) + 5)
    assert owner(tokens, text)
    later = time.monotonic() + 36
    monkeypatch.setattr(time, "monotonic", lambda: later)
    monkeypatch.setattr(jwt_tokens.jwt.api_jwt, "datetime", _Later(36))
    with pytest.raises(Unauthenticated, match="has expired"):
        tokens.owner(text)


class _Later:
    """The clock of PyJWT, ahead."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self, tz: Any) -> Any:
        from datetime import datetime, timedelta

        return datetime.now(tz) + timedelta(seconds=self._seconds)


@pytest.mark.parametrize(
    ("claims", "tier"),
    [
        ({}, "guest"),
        ({"atelier_tier": "admin"}, "admin"),
        ({"atelier_tier": "Admin"}, "guest"),
        ({"atelier_tier": "owner"}, "guest"),
        ({"atelier_tier": ["admin"]}, "guest"),
        ({"atelier_tier": {"admin": True}}, "guest"),
        ({"atelier_tier": 7}, "guest"),
        ({"atelier_tier": ""}, "guest"),
        ({"tier": "admin"}, "guest"),
    ],
)
def test_a_tier_that_is_not_named_or_not_known_is_the_default_and_never_higher(
    tokens: JwtTokens, claims: dict[str, Any], tier: str
):
    assert owner(tokens, good(**claims)).tier == tier


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, ORDINARY | {"account"}),
        ({"scope": "jobs.read jobs.write"}, {"jobs.read", "jobs.write"}),
        ({"scp": ["chat", "openid"]}, {"chat"}),
        ({"scp": "chat"}, {"chat"}),
        ({"scope": "openid profile"}, set()),
        ({"scope": ""}, set()),
        ({"scope": 7}, set()),
        ({"scope": ["chat", 7]}, set()),
        ({"scope": "fleet.write keys"}, {"fleet.write", "keys"}),
    ],
)
def test_scopes_are_those_named_of_ours(tokens: JwtTokens, claims: dict[str, Any], scopes: set[str]):
    assert owner(tokens, good(**claims)).scopes == scopes


def test_a_claim_of_scopes_that_is_null_names_none():
    assert scopes_of({"scope": None}) == scopes_of({"scope": None, "scp": []}) == frozenset()


@pytest.mark.parametrize(
    ("value", "mode"),
    [("sfw", edge_pb2.CONTENT_MODE_SFW), ("nsfw", edge_pb2.CONTENT_MODE_NSFW), ("NSFW", edge_pb2.CONTENT_MODE_SFW),
     (True, edge_pb2.CONTENT_MODE_SFW), (["nsfw"], edge_pb2.CONTENT_MODE_SFW)],
)  # fmt: skip
def test_a_content_mode_that_is_not_understood_is_sfw(tokens: JwtTokens, value: Any, mode: int):
    assert owner(tokens, good(atelier_content_mode=value)).content_mode == mode


SUBJECTS = [
    "ann", "Ann", "ann ", " ann", "auth0|ann", "auth0.ann", "a/b", "../../etc", "ann@example.com", "ann\x00", "é",
    "e\u0301", "x" * 96, "x" * 97, "x" * 128, "x" * 255, "developer", "-", "jwt-", hashlib.sha256(b"ann").hexdigest(),
    "s-ann", "h-ann",
]  # fmt: skip


def test_no_two_subjects_are_one_user_and_every_user_id_is_one_we_can_store():
    others = [f"jwt-x-h-{hashlib.sha256(subject.encode()).hexdigest()}" for subject in SUBJECTS]
    every = [*SUBJECTS, *(other[-96:] for other in others)]
    made = [user_id(ISSUER, subject) for subject in every]
    assert len(set(made)) == len(set(every))
    assert all(re.fullmatch("[A-Za-z0-9][A-Za-z0-9._@-]{0,127}", found) for found in made)
    assert [user_id(ISSUER, subject) for subject in every] == made


def test_the_users_of_an_issuer_are_nobody_elses():
    assert user_id(ISSUER, "developer") != "developer"
    assert user_id(ISSUER, "ann") != user_id("https://another.example", "ann")
    # A subject that looks like the id of another subject is not that other.
    assert user_id(ISSUER, user_id(ISSUER, "ann")) != user_id(ISSUER, "ann")
