"""Authenticates the caller of every RPC, by whichever proof they have, and says whether they may call it."""

from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

from atelier.contracts.errors import PermissionDenied, Unauthenticated
from edge_service.auth.api_keys.key_format import PREFIX
from edge_service.auth.api_keys.verifier import ApiKeyVerifier
from edge_service.auth.jwt import SHAPE, JwtTokens
from edge_service.auth.rpc_scopes import PermissionsOf, authorise, permissions_of, tier_names
from edge_service.auth.static_tokens import NOT_KNOWN, Tokens
from edge_service.domain.principal import Principal
from shared.identity import bearer


class Authenticator:
    """`guard` is what a server asks before every call. `jwt_tokens` is None where no issuer is trusted."""

    def __init__(
        self,
        tokens: Tokens,
        api_keys: ApiKeyVerifier,
        jwt_tokens: JwtTokens | None,
        permissions_of: PermissionsOf = permissions_of,
        tiers: Callable[[], Collection[str]] = tier_names,
    ) -> None:
        self._tokens, self._api_keys, self._jwt_tokens = tokens, api_keys, jwt_tokens
        self._permissions_of, self._tiers = permissions_of, tiers

    def start(self, master_secret: bytes) -> None:
        """Begins to take API keys, which were made under this secret, and to follow the keys of the issuer."""
        self._api_keys.start(master_secret)
        if self._jwt_tokens is not None:
            self._jwt_tokens.start()

    async def close(self) -> None:
        if self._jwt_tokens is not None:
            await self._jwt_tokens.close()
        await self._api_keys.close()

    def guard(self, method: str, metadata: Mapping[str, str | bytes]) -> Principal | Coroutine[Any, Any, Principal]:
        """The caller of one RPC. Raises Unauthenticated, PermissionDenied, DatabaseUnavailable."""
        found = self._owner(bearer(metadata))
        if isinstance(found, Principal):
            return self._authorised(method, found)
        return self._authorised_later(method, found)

    def _owner(self, token: str) -> Principal | Coroutine[Any, Any, Principal]:
        if known := self._tokens.owner(token):
            return known
        if token.startswith(PREFIX):
            return self._api_keys.owner(token)
        if self._jwt_tokens is not None and SHAPE.fullmatch(token):
            return self._jwt_tokens.owner(token)
        raise Unauthenticated(NOT_KNOWN)

    def _authorised(self, method: str, caller: Principal) -> Principal:
        if caller.tier not in self._tiers():  # a policy may drop a tier that accounts are still of
            raise PermissionDenied(f"your tier '{caller.tier}' no longer exists")
        authorise(method, caller.tier, caller.scopes, self._permissions_of)
        return caller

    async def _authorised_later(self, method: str, asking: Coroutine[Any, Any, Principal]) -> Principal:
        return self._authorised(method, await asking)
