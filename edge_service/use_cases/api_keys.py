"""Making, listing and revoking API keys on behalf of a caller: what they may, and what a key they make may."""

import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from atelier.contracts.errors import InvalidRequest, PermissionDenied, Violation
from atelier.pb.edge.v1 import edge_pb2
from edge_service.accounts.audit import Audit, Entry
from edge_service.auth.api_keys import key_format
from edge_service.auth.api_keys.store import ApiKey, ApiKeyStore
from edge_service.auth.rpc_scopes import KEYS, ORDINARY, PermissionsOf, effective, permissions_of, tier_names
from edge_service.domain.principal import SCOPES, Principal

LIFETIME_SECONDS = 90 * 86400.0


class ManageApiKeys:
    """Every key that is made or revoked is a line in the audit log."""

    def __init__(
        self,
        keys: ApiKeyStore,
        audit: Audit,
        permissions_of: PermissionsOf = permissions_of,
        tiers: Callable[[], Collection[str]] = tier_names,
    ) -> None:
        self._keys, self._audit, self._permissions_of, self._tiers = keys, audit, permissions_of, tiers
        self._master_secret = b""

    def start(self, master_secret: bytes) -> None:
        """Begins to make keys, under the secret that all replicas share."""
        self._master_secret = master_secret

    async def create(self, request: edge_pb2.CreateKeyRequest, maker: Principal) -> tuple[edge_pb2.ApiKey, str]:
        """A new key and its secret, which is not stored. Raises PermissionDenied, InvalidRequest."""
        key, secret = await self._create(request, maker)
        await self._audit.record(Entry(maker.user_id, "key.created", key.id))
        return message(key), secret

    async def list(self, user_id: str, caller: Principal) -> list[edge_pb2.ApiKey]:
        """A user's keys, the caller's by default. Raises PermissionDenied for those of others."""
        if user_id and user_id != caller.user_id:
            self._check_administers(caller, "user_id")
        return [message(key) for key in await self._keys.of(user_id or caller.user_id)]

    async def revoke(self, key_id: str, caller: Principal) -> edge_pb2.ApiKey:
        """Raises KeyNotFound, also for another user's key unless the caller administers them."""
        key = await self._keys.revoke(key_id, None if self._administers(caller) else caller.user_id)
        await self._audit.record(Entry(caller.user_id, "key.revoked", key.id))
        return message(key)

    async def _create(self, request: edge_pb2.CreateKeyRequest, maker: Principal) -> tuple[ApiKey, str]:
        if not request.name.isprintable():
            raise InvalidRequest(Violation("name", "must be printable characters"))
        owner, tier = request.user_id or maker.user_id, request.tier or maker.tier
        self._check_owner_and_tier(owner, tier, maker)
        scopes = self._scopes(request.scopes, tier, maker)
        minted = key_format.mint(self._master_secret)
        key = ApiKey(
            minted.id, key_format.digest(minted.secret), request.name, owner, tier, scopes,
            _expires(request, maker), maker.content_mode, maker.key_id or None,
        )  # fmt: skip
        return await self._keys.add(key), minted.secret

    def _check_owner_and_tier(self, owner: str, tier: str, maker: Principal) -> None:
        if owner != maker.user_id:
            self._check_administers(maker, "user_id")
        if tier == maker.tier:
            return
        self._check_administers(maker, "tier")
        if tier not in self._tiers():
            known = ", ".join(sorted(self._tiers()))
            raise InvalidRequest(Violation("tier", f"must be one of {known}, got {tier!r}"))
        if more := set(self._permissions_of(tier)) - set(self._permissions_of(maker.tier)):
            raise PermissionDenied(f"tier: {tier} may do what your tier may not: {', '.join(sorted(more))}")

    def _scopes(self, named: Collection[str], tier: str, maker: Principal) -> frozenset[str]:
        if unknown := sorted(set(named) - SCOPES):
            known = ", ".join(sorted(SCOPES))
            raise InvalidRequest(Violation("scopes", f"must be of {known}, got {', '.join(unknown)}"))
        mine = effective(maker.scopes, self._permissions_of(maker.tier))
        wanted = frozenset(named) or ORDINARY & mine
        if more := sorted(wanted - mine):
            raise PermissionDenied(
                f"scopes: a key may not do more than who makes it, and yours lacks {', '.join(more)}"
            )
        if more := sorted(wanted - effective(wanted, self._permissions_of(tier))):
            raise PermissionDenied(f"scopes: the tier {tier} has no permission for {', '.join(more)}")
        if not wanted:
            raise PermissionDenied("scopes: what makes this key has no ordinary scope to give it; name some")
        return wanted

    def _administers(self, caller: Principal) -> bool:
        return KEYS in effective(caller.scopes, self._permissions_of(caller.tier))

    def _check_administers(self, caller: Principal, field: str) -> None:
        if not self._administers(caller):
            raise PermissionDenied(f"{field}: naming another than your own needs the scope {KEYS}, which you lack")


def _expires(request: edge_pb2.CreateKeyRequest, maker: Principal) -> datetime:
    """When it ends. A key made with a key ends no later than that one."""
    now = time.time()
    seconds = request.lifetime.ToNanoseconds() / 1e9 if request.HasField("lifetime") else LIFETIME_SECONDS
    left = maker.expires - now if maker.expires else seconds
    if request.HasField("lifetime") and seconds > left:
        bound = f"must be at most the {left:.0f}s that the key which makes it has left, got {seconds:.0f}s"
        raise InvalidRequest(Violation("lifetime", bound))
    return datetime.fromtimestamp(now + min(seconds, left), UTC)


def message(key: ApiKey) -> edge_pb2.ApiKey:
    """The key as its owner sees it."""
    found = edge_pb2.ApiKey(
        id=key.id, name=key.name, user_id=key.owner, tier=key.tier, scopes=sorted(key.scopes), created=key.created,
        expires=key.expires,
    )  # fmt: skip
    if key.revoked is not None:
        found.revoked.FromDatetime(key.revoked)
    if key.last_used is not None:
        found.last_used.FromDatetime(key.last_used)
    return found
