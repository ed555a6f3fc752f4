"""What submissions of every kind have in common: what is stored of them, and that each counts as a request."""

from hashlib import sha256

from google.protobuf.message import Message

from edge_service.intake.plan import Plan
from edge_service.intake.tiers import tiers
from edge_service.jobs.estimates.costs import Costs
from edge_service.jobs.store import Store, Submission
from edge_service.servicers.callers import owner, principal


def submission_of(plan: Plan, costs: Costs, key: str, request: Message) -> Submission:
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
