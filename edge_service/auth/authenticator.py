"""Everybody who may call, put together: the gate, and what it asks."""

from collections.abc import Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any

from edge_service.accounts.tiers import tiers
from edge_service.adapters.database import Database
from edge_service.adapters.notifications import Notifications
from edge_service.auth.api_keys.store import ApiKeyStore
from edge_service.auth.api_keys.verifier import ApiKeyVerifier
from edge_service.auth.guard import Gate
from edge_service.auth.issuer import Issuer
from edge_service.auth.jwks import FILE_SECONDS, ISSUER_SECONDS, KeySet, from_file
from edge_service.auth.jwt import JwtTokens, Rules
from edge_service.auth.rpc_scopes import PermissionsOf, permissions_of
from edge_service.auth.static_tokens import Tokens
from edge_service.config import EdgeConfig
from edge_service.domain.principal import Principal
from edge_service.use_cases.api_keys import KeyOrders


class People:
    """The guard of the edge, and the making of keys."""

    def __init__(
        self,
        config: EdgeConfig,
        database: Database,
        notifications: Notifications,
        tokens: Tokens,
        permissions_of: PermissionsOf = permissions_of,
    ) -> None:
        keys = ApiKeyStore(database, notifications)
        self._ring = ApiKeyVerifier(keys, notifications, _tier_names)
        self._issuer_keys = _issuer_keys(config)
        self._gate = Gate(tokens, self._ring, _jwt_tokens(config, self._issuer_keys), permissions_of, _tier_names)
        self.orders = KeyOrders(keys, permissions_of, _tier_names)

    def guard(self, method: str, metadata: Mapping[str, str | bytes]) -> Principal | Coroutine[Any, Any, Principal]:
        """The caller of one RPC. Raises Unauthenticated, PermissionDenied, DatabaseUnavailable."""
        return self._gate.guard(method, metadata)

    def start(self, house: bytes) -> None:
        """`house` is the secret that all replicas mint API keys under."""
        self.orders.start(house)
        self._ring.start(house)
        if self._issuer_keys is not None:
            self._issuer_keys.start()

    async def close(self) -> None:
        if self._issuer_keys is not None:
            await self._issuer_keys.close()
        await self._ring.close()


def _issuer_keys(config: EdgeConfig) -> KeySet | None:
    if not config.jwt_issuer:
        return None
    if config.jwt_jwks and "://" not in config.jwt_jwks:
        return KeySet(from_file(Path(config.jwt_jwks)), FILE_SECONDS)
    return KeySet(Issuer(config.jwt_issuer, config.jwt_jwks).read, ISSUER_SECONDS)


def _jwt_tokens(config: EdgeConfig, keys: KeySet | None) -> JwtTokens | None:
    if keys is None:
        return None
    rules = Rules(
        config.jwt_issuer, config.jwt_audience, _tier_names, config.jwt_tier_claim, config.jwt_default_tier,
        config.jwt_skew_seconds,
    )  # fmt: skip
    return JwtTokens(rules, keys)


def _tier_names() -> Collection[str]:
    return tiers().tiers
