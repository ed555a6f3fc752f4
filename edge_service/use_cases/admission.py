"""What every submission has in common: idempotency, counting as a request, and being stored."""

from dataclasses import dataclass
from hashlib import sha256

from google.protobuf.message import Message

from atelier.pb.edge.v1 import edge_pb2
from edge_service.accounts.tiers import Limits, Tier, tiers
from edge_service.domain.plan import Plan
from edge_service.domain.principal import Principal
from edge_service.queue.estimates.cost_model import CostModel
from edge_service.queue.store import Store, Submission
from edge_service.use_cases.links import Links


@dataclass(frozen=True)
class Order:
    """A caller's request to have something made. The same key with another request is refused."""

    caller: Principal
    request: Message
    key: str = ""
    """The idempotency key; empty for none."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the request, by which a repetition is known."""
        return sha256(self.request.SerializeToString(deterministic=True)).digest()


class Admission:
    """Counts requests and stores jobs, each once."""

    def __init__(self, store: Store, costs: CostModel, links: Links) -> None:
        self._store, self._costs, self._links = store, costs, links

    async def earlier(self, order: Order) -> edge_pb2.Job | None:
        """The job that this very order made before, even if it would be refused today; None if there is none."""
        job = await self._store.earlier(order.caller.user_id, order.key, order.digest) if order.key else None
        return job and await self._links.job(job)

    async def count(self, caller: Principal) -> None:
        """Counts a request that may never be stored. Raises QuotaExceeded if there were too many in this minute."""
        await self._store.accounts.count_request(caller.user_id, _tier(caller).quotas)

    async def afford(self, caller: Principal, credits: int) -> None:
        """Counts a request for which work is done before it is stored. Raises QuotaExceeded."""
        await self.count(caller)
        await self._store.accounts.check(caller.user_id, _tier(caller).quotas, credits)

    async def store(
        self, plan: Plan, order: Order, *, counted: bool, retry_of: str = "", turn: bool = False
    ) -> edge_pb2.Job:
        """Stores a job; an order that was stored before returns its job.

        `counted` says that its request was counted before. A `turn` is interactive: it never waits in the queue.
        Raises IdempotencyConflict, QueueFull, QuotaExceeded, ReferenceUnusable.
        """
        cost = self._costs.estimate(plan.job)
        job = await self._store.create(
            Submission(
                order.caller.user_id, plan, cost, _limits(order.caller, turn), order.key, order.digest,
                interactive=turn, retry_of=retry_of, counted=counted,
            )
        )  # fmt: skip
        return await self._links.job(job)


def _tier(caller: Principal) -> Tier:
    return tiers().tiers[caller.tier]


def _limits(caller: Principal, turn: bool) -> Limits:
    return tiers().turns(caller.tier) if turn else tiers().limits(caller.tier)
