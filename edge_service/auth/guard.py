"""The guard of the edge's every RPC: who calls, by whichever proof they have, and whether they may."""

from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

from edge_service.auth.api_keys.key_format import PREFIX
from edge_service.auth.api_keys.verifier import ApiKeyVerifier
from edge_service.auth.jwt import SHAPE, JwtTokens
from edge_service.auth.rpc_scopes import PermissionsOf, authorise
from edge_service.auth.static_tokens import NOT_KNOWN, Tokens
from edge_service.domain.principal import Principal
from shared.errors import PermissionDenied, Unauthenticated
from shared.identity import bearer


class Gate:
    """Lets callers in. `jwt_tokens` is None where no issuer is trusted."""

    def __init__(
        self,
        tokens: Tokens,
        keys: ApiKeyVerifier,
        jwt_tokens: JwtTokens | None,
        permissions_of: PermissionsOf,
        tiers: Callable[[], Collection[str]],
    ) -> None:
        self._tokens, self._keys, self._jwt_tokens = tokens, keys, jwt_tokens
        self._permissions_of, self._tiers = permissions_of, tiers

    def guard(self, method: str, metadata: Mapping[str, str | bytes]) -> Principal | Coroutine[Any, Any, Principal]:
        """The caller of one RPC. Raises Unauthenticated, PermissionDenied, DatabaseUnavailable."""
        found = self._owner(bearer(metadata))
        if isinstance(found, Principal):
            return self._admitted(method, found)
        return self._admitted_later(method, found)

    def _owner(self, token: str) -> Principal | Coroutine[Any, Any, Principal]:
        if known := self._tokens.owner(token):
            return known
        if token.startswith(PREFIX):
            return self._keys.owner(token)
        if self._jwt_tokens is not None and SHAPE.fullmatch(token):
            return self._jwt_tokens.owner(token)
        raise Unauthenticated(NOT_KNOWN)

    def _admitted(self, method: str, caller: Principal) -> Principal:
        if caller.tier not in self._tiers():  # a policy may drop a tier while somebody is of it
            raise PermissionDenied(f"you are of a tier that there is no more, {caller.tier}")
        authorise(method, caller.tier, caller.scopes, self._permissions_of)
        return caller

    async def _admitted_later(self, method: str, asking: Coroutine[Any, Any, Principal]) -> Principal:
        return self._admitted(method, await asking)
