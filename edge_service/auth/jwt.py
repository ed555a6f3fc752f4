"""JSON Web Tokens of an issuer. PyJWT checks the signature and the times; what is in force is said here."""

import hashlib
import re
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from atelier.contracts.errors import Unauthenticated
from atelier.pb.edge.v1 import edge_pb2
from edge_service.auth.jwks import KeySet
from edge_service.auth.rpc_scopes import ORDINARY
from edge_service.auth.ttl_cache import Expiring, TtlCache
from edge_service.domain.principal import SCOPES, Principal

# Longer ones do not fit into the metadata of a call anyway.
MAX_CHARACTERS = 8192
# A token that was good is not checked again for so long, as long as the keys stay the same.
TRUST_SECONDS, MAX_TRUSTED = 60.0, 10_000
REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
"""What may be such a token; anything else is not tried as one."""
PLAIN_SUBJECT = re.compile(r"[A-Za-z0-9._@-]{1,96}")
MAX_SUBJECT = 255
CONTENT_CLAIM = "atelier_content_mode"
REASONS: dict[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "the token has expired",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.InvalidAudienceError: "the token is for another audience",
    jwt.InvalidIssuerError: "the token is of another issuer",
    jwt.InvalidSignatureError: "the token's signature is not that of its key",
}


@dataclass(frozen=True)
class Rules:
    """What a token must say, and what is made of it."""

    issuer: str
    audience: str
    tiers: Callable[[], Collection[str]]
    tier_claim: str = "atelier_tier"
    default_tier: str = "guest"
    """The tier of a token that names none, or one there is not."""
    skew_seconds: float = 30.0


class JwtTokens:
    """Takes the tokens of one issuer."""

    def __init__(self, rules: Rules, keys: KeySet) -> None:
        self._rules, self._keys = rules, keys
        self._trusted: TtlCache[Principal] = TtlCache(MAX_TRUSTED)
        self._version = keys.version

    def start(self) -> None:
        """Begins to follow the keys of the issuer."""
        self._keys.start()

    async def close(self) -> None:
        await self._keys.close()

    def owner(self, token: str) -> Principal | Coroutine[Any, Any, Principal]:
        """Whose token it is; a coroutine of it where the issuer has to be asked. Raises Unauthenticated."""
        if len(token) > MAX_CHARACTERS:
            raise Unauthenticated(f"the token has {len(token)} characters; {MAX_CHARACTERS} are taken")
        if self._version != self._keys.version:
            self._trusted.clear()
            self._version = self._keys.version
        if self._keys.usable and (known := self._trusted.get(_digest(token))):
            return known.value
        key_id, algorithm = _header(token)
        if self._keys.get(key_id) is None and self._keys.may_look():
            return self._looked(token, key_id, algorithm)
        return self._checked(token, key_id, algorithm)

    async def _looked(self, token: str, key_id: str, algorithm: str) -> Principal:
        await self._keys.look()
        return self._checked(token, key_id, algorithm)

    def _checked(self, token: str, key_id: str, algorithm: str) -> Principal:
        key = self._keys.get(key_id)
        if key is None:
            here = "the issuer has no key of the token's id" if self._keys.usable else "the issuer cannot be asked now"
            raise Unauthenticated(f"{here}; get a new token, or try again in a moment")
        if algorithm != key.algorithm:
            raise Unauthenticated(f"the token's algorithm is not that of its key, which is for {key.algorithm}")
        claims = self._claims(token, key.key, key.algorithm)
        found = principal(claims, self._rules)
        seconds = min(TRUST_SECONDS, int(claims["exp"]) + self._rules.skew_seconds - time.time())
        self._trusted[_digest(token)] = Expiring(found, time.monotonic() + seconds)
        return found

    def _claims(self, token: str, key: Any, algorithm: str) -> Mapping[str, Any]:
        rules = self._rules
        try:
            return jwt.decode(
                token, key, [algorithm], audience=rules.audience, issuer=rules.issuer, leeway=rules.skew_seconds,
                options={"require": REQUIRED},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise Unauthenticated(REASONS.get(type(error), "the token lacks a claim, or one is malformed")) from None
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthenticated("the token is malformed") from None


def _digest(token: str) -> str:
    # So that a copy of our memory holds no token.
    return hashlib.sha256(token.encode()).hexdigest()


def _header(token: str) -> tuple[str, str]:
    """Key id and algorithm as the token claims them: nothing is proven yet."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise Unauthenticated("the token is malformed") from None
    key_id, algorithm = header.get("kid"), header.get("alg")
    if not isinstance(key_id, str) or not isinstance(algorithm, str):
        raise Unauthenticated("the token names no key and algorithm (kid, alg)")
    return key_id, algorithm


def principal(claims: Mapping[str, Any], rules: Rules) -> Principal:
    """Who the claims of a good token speak of. Raises Unauthenticated."""
    tier = claims.get(rules.tier_claim)
    known = isinstance(tier, str) and tier in rules.tiers()
    return Principal(
        user_id(rules.issuer, claims["sub"]), str(tier) if known else rules.default_tier, scopes(claims),
        content_mode(claims),
    )  # fmt: skip


def user_id(issuer: str, subject: str) -> str:
    """The user behind a subject of an issuer: never two for one, nor one for two, nor one that we named ourselves.

    Ids of issuers begin with "jwt-", the issuer's hash, and how the subject is written: as it is, or hashed.
    """
    if not subject or len(subject) > MAX_SUBJECT:
        raise Unauthenticated(f"the token's subject (sub) must have 1 to {MAX_SUBJECT} characters")
    whose = hashlib.sha256(issuer.encode()).hexdigest()[:12]
    if PLAIN_SUBJECT.fullmatch(subject):
        return f"jwt-{whose}-s-{subject}"
    return f"jwt-{whose}-h-{hashlib.sha256(subject.encode('utf-8', 'surrogatepass')).hexdigest()}"


def scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """What `scope` or `scp` covers of ours; the ordinary scopes for a token that has neither."""
    if not {"scope", "scp"} & claims.keys():
        return frozenset(ORDINARY) | {"account"}
    named = claims.get("scope", claims.get("scp"))
    words = named.split() if isinstance(named, str) else named
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return frozenset()
    return SCOPES & set(words)


def content_mode(claims: Mapping[str, Any]) -> "edge_pb2.ContentMode | None":
    """The most explicit content the issuer allows; None if it does not say. What is not understood is SFW."""
    if CONTENT_CLAIM not in claims:
        return None
    return edge_pb2.CONTENT_MODE_NSFW if claims[CONTENT_CLAIM] == "nsfw" else edge_pb2.CONTENT_MODE_SFW
