"""What submissions of every kind have in common: what is stored of them, and that each counts as a request."""

from hashlib import sha256

from google.protobuf.message import Message

from edge_service.accounts.tiers import tiers
from edge_service.domain.plan import Plan
from edge_service.doors.grpc.callers import owner, principal
from edge_service.queue.estimates.cost_model import CostModel
from edge_service.queue.store import Store, Submission


def submission_of(plan: Plan, costs: CostModel, key: str, request: Message) -> Submission:
    """The caller's submission of a plan."""
    cost = costs.estimate(plan.type_name, plan.worker_type, plan.job)
    return Submission(owner(), plan, cost, tiers().limits(principal().tier), key, digest(request))


async def count(store: Store) -> None:
    """Counts a request before it comes to the store, if it ever does. Raises QuotaExceeded if there were too many."""
    await store.accounts.count_request(owner(), tiers().tiers[principal().tier].quotas)


async def afford(store: Store, credits: int) -> None:
    """Counts a request for which work is done before it is stored. Raises QuotaExceeded if that would refuse it."""
    await count(store)
    await store.accounts.check(owner(), tiers().tiers[principal().tier].quotas, credits)


def digest(request: Message) -> bytes:
    return sha256(request.SerializeToString(deterministic=True)).digest()
