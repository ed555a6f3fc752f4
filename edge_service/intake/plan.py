"""From a client's request to the complete job a worker executes, with the decisions that led there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edge_service.addresses import INTERNET, Addresses
from edge_service.intake.capabilities import check_capabilities, needs
from edge_service.intake.choices import Chosen
from edge_service.intake.job_types import WorkerJob
from edge_service.intake.policy import may_chat, may_repeat, may_submit
from edge_service.intake.presets import Filled, fill
from edge_service.intake.tiers import Tier
from shared.errors import NotImplementedYet
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.worker.v1 import worker_pb2

Models = Mapping[str, Sequence[worker_pb2.Model]]
"""The models of the connected workers, by worker type."""

DEFAULT_DEADLINE_SECONDS = 3600.0
# Fields of the contract without an effect yet. A control that does nothing would be a lie, so it is refused.
NOT_YET = ("content_mode", "reference_use")


@dataclass(frozen=True)
class Plan:
    """What a worker is to execute: complete but for the ids, which the store gives."""

    type_name: str
    worker_type: str
    job: WorkerJob
    decisions: list[edge_pb2.Decision]
    deadline_seconds: float
    priority: int
    needs: Sequence[str]
    """What a worker must offer to get it: models and abilities."""
    credits: int
    webhook: edge_pb2.Webhook | None = None


def plan_job(request: edge_pb2.SubmitJobRequest, models: Models, tier: Tier, addresses: Addresses = INTERNET) -> Plan:
    """Plans a submitted job. Raises AtelierError for what cannot or may not be done."""
    may_submit(tier, request)
    for field in NOT_YET:
        if getattr(request, field):
            raise NotImplementedYet(f"{field}: is part of the contract and not built yet; leave it out")
    if request.enhancement == edge_pb2.ENHANCEMENT_ON:
        raise NotImplementedYet("enhancement: prompt enhancement is not built yet; leave it out or switch it off")
    job: WorkerJob = getattr(request, request.WhichOneof("job") or "")
    deadline = request.deadline.ToNanoseconds() / 1e9 if request.HasField("deadline") else DEFAULT_DEADLINE_SECONDS
    webhook = request.webhook if request.HasField("webhook") else None
    if webhook:
        addresses.check("webhook.url", webhook.url)
    return _planned(fill(job, Chosen.by(request)), models, deadline, tier.priority_of(request.priority), webhook)


def plan_chat(request: chat_pb2.ChatRequest, models: Models, tier: Tier) -> Plan:
    """Plans an interactive turn."""
    may_chat(tier)
    return _planned(fill(request), models, DEFAULT_DEADLINE_SECONDS, tier.priority, None)


def plan_again(plan: Plan, models: Models, tier: Tier) -> Plan:
    """The plan of an ended job for another go: the workers may be others now, and so may what its owner is allowed."""
    may_repeat(tier, plan.type_name, plan.job, plan.webhook is not None)
    check_capabilities(plan.job, models.get(plan.worker_type, ()))
    return replace(plan, priority=tier.priority)


def _planned(filled: Filled, models: Models, deadline: float, priority: int, webhook: edge_pb2.Webhook | None) -> Plan:
    if filled.job_type.enhanced:
        raise NotImplementedYet(f"type: {filled.type_name} enhances its prompt, which is not built yet")
    if isinstance(filled.job, chat_pb2.ChatRequest) and filled.job.sfw_mode:
        raise NotImplementedYet("sfw_mode: content rules are not built yet, so nothing could keep the promise")
    worker_type = filled.job_type.worker_type
    check_capabilities(filled.job, models.get(worker_type, ()))
    return Plan(
        filled.type_name, worker_type, filled.job, filled.decisions, deadline, priority, needs(filled.job),
        filled.job_type.credits, webhook,
    )  # fmt: skip
