"""The caller's own account: what the tier permits, and each limit with its size and its use."""

import secrets
from datetime import datetime

from atelier.pb.edge.v1 import edge_pb2
from edge_service.accounts.quotas import Usage
from edge_service.accounts.tiers import Tier, tiers
from edge_service.auth.api_keys.store import MAX_KEYS
from edge_service.domain.job_types import job_types
from edge_service.domain.principal import Principal
from edge_service.planning.permissions import account_mode
from edge_service.queue.rows import timestamp
from edge_service.queue.store import Store
from edge_service.queue.webhooks.payload import MASTER_SECRET, secret_of

# What a token must cover for a permission of the tier to be of use; for all others it is "jobs.write".
SCOPES_OF = {"chat": {"chat"}, "fleet": {"fleet.read", "fleet.write"}, "keys": {"keys"}}


class Account:
    """The caller's own account."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, caller: Principal) -> edge_pb2.GetAccountResponse:
        """What the caller may do, and how much of it is used."""
        tier = tiers().tiers[caller.tier]
        return account(caller, tier, await self._store.accounts.usage(caller.user_id, tier.quotas))

    async def webhook_secret(self, caller: Principal) -> str:
        """The secret that signs the callbacks of the caller's jobs; the same until the database is another."""
        master = await self._store.secret(MASTER_SECRET, fresh=secrets.token_bytes(32))
        return secret_of(master, caller.user_id)


def account(principal: Principal, tier: Tier, usage: Usage) -> edge_pb2.GetAccountResponse:
    """The account as its owner sees it."""
    return edge_pb2.GetAccountResponse(
        user_id=principal.user_id,
        tier=principal.tier,
        permissions=[one for one in tier.granted(job_types()) if principal.scopes & SCOPES_OF.get(one, {"jobs.write"})],
        content_mode=account_mode(tier, principal.content_mode),
        quotas=quotas(tier, usage),
        least_priority=tier.request_priority.least,
        most_priority=tier.request_priority.most,
    )


def quotas(tier: Tier, usage: Usage) -> list[edge_pb2.Quota]:
    """Every limit of a tier that has a size for each user."""
    sizes = tier.quotas
    return [
        _quota("requests_per_minute", sizes.requests_per_minute, usage.requests, usage.minute_ends),
        _quota("queued", tier.max_queued, usage.queued),
        _quota("queued_of_one_type", tier.max_queued_by_type, usage.queued_of_one_type),
        _quota("running", sizes.max_running, usage.running),
        _quota("turns", tier.max_turns, usage.turns),
        _quota("jobs_per_day", sizes.jobs_per_day, usage.jobs, usage.day_ends),
        _quota("credits", sizes.credits_per_period, usage.credits, usage.period_ends),
        _quota("storage_bytes", sizes.storage_bytes, usage.bytes),
        _quota("api_keys", MAX_KEYS, usage.keys),
    ]


def _quota(name: str, size: int, used: int, resets: datetime | None = None) -> edge_pb2.Quota:
    return edge_pb2.Quota(name=name, size=size, used=used, resets=timestamp(resets))
