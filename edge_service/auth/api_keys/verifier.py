"""The owner of an API key, cached for a few seconds so that a call costs no query of the database.

A revocation reaches every replica at once; where the notification was lost, the cached entry soon expires. Keys
that were never made are told by their form; of those that have ended only so many are cached.
"""

import asyncio
import contextlib
import hmac
import logging
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any, cast

from atelier.contracts.errors import AtelierError, DatabaseUnavailable, Unauthenticated
from atelier.pb.edge.v1 import edge_pb2
from edge_service.adapters.notifications import KEYS, Notifications
from edge_service.auth.api_keys.key_format import digest, id_of, is_of
from edge_service.auth.api_keys.store import ApiKey, ApiKeyStore
from edge_service.auth.rpc_scopes import tier_names
from edge_service.auth.static_tokens import NOT_KNOWN
from edge_service.auth.ttl_cache import Expiring, TtlCache
from edge_service.domain.principal import Principal

log = logging.getLogger(__name__)

TRUST_SECONDS = 5.0
MAX_KEYS, MAX_GONE = 10_000, 10_000
# How often the times of last use are written.
USED_SECONDS = 60.0


class ApiKeyVerifier:
    """Takes API keys. Until it is started it takes none."""

    def __init__(
        self, keys: ApiKeyStore, notifications: Notifications, tiers: Callable[[], Collection[str]] = tier_names
    ) -> None:
        self._keys, self._notifications, self._tiers = keys, notifications, tiers
        self._master_secret = b""
        self._known: TtlCache[ApiKey] = TtlCache(MAX_KEYS)
        self._gone: TtlCache[bool] = TtlCache(MAX_GONE)
        self._asking: dict[str, asyncio.Task[ApiKey | None]] = {}
        self._used: dict[str, float] = {}
        self._stack = contextlib.ExitStack()
        self._writing: asyncio.Task[None] | None = None

    def start(self, master_secret: bytes) -> None:
        """Begins to take keys that were made under this secret, which all replicas share."""
        self._master_secret = master_secret
        self._stack.enter_context(self._notifications.subscribe(KEYS, self._heard))
        self._writing = asyncio.create_task(self._write_times())

    async def close(self) -> None:
        self._stack.close()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        with contextlib.suppress(AtelierError):
            await self._write()

    def owner(self, secret: str) -> Principal | Coroutine[Any, Any, Principal]:
        """Who holds it; a coroutine of that where the database has to be asked.

        Raises Unauthenticated, DatabaseUnavailable if the edge is still starting.
        """
        if not self._master_secret:
            raise DatabaseUnavailable("the edge is still starting")
        key_id = id_of(secret)
        if key_id is None:
            raise Unauthenticated(NOT_KNOWN)
        if known := self._known.get(key_id):
            return self._holder(known.value, secret)
        if self._gone.get(key_id) or not is_of(self._master_secret, key_id):
            raise Unauthenticated(NOT_KNOWN)
        return self._asked(key_id, secret)

    async def _asked(self, key_id: str, secret: str) -> Principal:
        if key_id not in self._asking:
            self._asking[key_id] = asyncio.create_task(self._ask(key_id))
        # Shielded: one caller's cancellation must not end it for the others.
        found = await asyncio.shield(self._asking[key_id])
        if found is None:
            raise Unauthenticated(NOT_KNOWN)
        return self._holder(found, secret)

    async def _ask(self, key_id: str) -> ApiKey | None:
        until, me = time.monotonic() + TRUST_SECONDS, asyncio.current_task()
        try:
            found = await self._keys.find(key_id)
            # Not if it was revoked while we asked: what was read may be from before.
            if self._asking.get(key_id) is me:
                if found is None:
                    self._gone[key_id] = Expiring(True, until)
                else:
                    self._known[key_id] = Expiring(found, until)
            return found
        finally:
            if self._asking.get(key_id) is me:
                del self._asking[key_id]

    def _holder(self, key: ApiKey, secret: str) -> Principal:
        if not hmac.compare_digest(key.digest, digest(secret)):
            raise Unauthenticated(NOT_KNOWN)
        now = time.time()
        if key.revoked is not None:
            raise Unauthenticated(f"the API key {key.id} was revoked")
        if key.expires.timestamp() <= now:
            raise Unauthenticated(f"the API key {key.id} has expired")
        if key.tier not in self._tiers():
            raise Unauthenticated(f"the API key {key.id} is of the tier {key.tier}, which no longer exists")
        self._used[key.id] = now
        mode = cast("edge_pb2.ContentMode | None", key.content_mode)
        return Principal(key.owner, key.tier, key.scopes, mode, key.id, key.expires.timestamp())

    def _heard(self, key_id: str) -> None:
        """Forgets a key that was changed, or all of them where a message may have been missed."""
        if key_id:
            self._known.pop(key_id, None)
            self._gone.pop(key_id, None)
            self._asking.pop(key_id, None)
        else:
            self._known.clear()
            self._gone.clear()
            self._asking.clear()

    async def _write_times(self) -> None:
        while True:
            await asyncio.sleep(USED_SECONDS)
            try:
                await self._write()
            except AtelierError as error:
                log.warning("the use of API keys was not recorded", extra={"error": type(error).__name__})

    async def _write(self) -> None:
        used, self._used = self._used, {}
        if used:
            await self._keys.used(used)
