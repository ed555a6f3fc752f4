"""May this user ask for this? What the caller's tier permits; how much of it is counted where jobs are stored.

Nothing is lowered in silence: who asks for more than the tier permits is refused, naming the permission and the tier. A
request that leaves the content mode out asks for nothing explicit.
"""

from atelier.contracts.errors import PermissionDenied
from atelier.pb.edge.v1 import edge_pb2
from edge_service.accounts.tiers import Tier
from edge_service.domain.content_mode import MODES
from edge_service.domain.job_types import job_types
from edge_service.domain.kinds import CHAT_TURN, WorkerJob, kind_of
from edge_service.moderation.rules import content


def require(tier: Tier, ability: str, field: str = "") -> None:
    """Raises PermissionDenied for one of `tiers.ABILITIES` that the tier lacks; `field` is what asks for it."""
    if not tier.allows(ability):
        raise _denied(tier, ability, field)


def may_submit(tier: Tier, request: edge_pb2.SubmitJobRequest) -> None:
    """Raises PermissionDenied for a job, or a field of it, that the tier does not permit."""
    job: WorkerJob = getattr(request, request.WhichOneof("job") or "")
    _may_run(tier, kind_of(job).type_name(job), job, request.content_mode)
    tier.priority_of(request.priority)
    if request.HasField("webhook"):
        require(tier, "webhooks", "webhook")
    if request.reference_use:
        require(tier, "references", "reference_use")
    enhanced = job_types()[kind_of(job).type_name(job)].enhanced and request.enhancement != edge_pb2.ENHANCEMENT_OFF
    if enhanced or request.enhancement == edge_pb2.ENHANCEMENT_ON:
        require(tier, "enhancement", "type" if enhanced else "enhancement")


def may_chat(tier: Tier, mode: "edge_pb2.ContentMode" = edge_pb2.CONTENT_MODE_UNSPECIFIED) -> None:
    """Raises PermissionDenied for an interactive turn, or its content mode, that the tier does not permit."""
    require(tier, "chat")
    _may_show(tier, mode)


def may_repeat(tier: Tier, type_name: str, job: WorkerJob, webhook: bool) -> None:
    """Raises PermissionDenied for an ended job that the tier does not permit today, though it once did.

    An interactive turn may be repeated as a queued job by who may chat or ask for queued chat jobs.
    """
    if not (type_name == CHAT_TURN and tier.allows("chat")):
        _may_run(tier, type_name, job, edge_pb2.CONTENT_MODE_UNSPECIFIED)
    if webhook:
        require(tier, "webhooks", "webhook")


def account_mode(tier: Tier, stated: "edge_pb2.ContentMode | None") -> "edge_pb2.ContentMode":
    """The most explicit content of an account: what its tier permits, or less where the policy, or the issuer of
    the account's token, says so."""
    most = min(tier.content_mode, MODES[content().most_explicit])
    return most if stated is None else min(most, stated or edge_pb2.CONTENT_MODE_SFW)


def _may_run(tier: Tier, name: str, job: WorkerJob, mode: "edge_pb2.ContentMode") -> None:
    if not tier.allows_job(name, job_types()[name].worker_type):
        raise _denied(tier, f"job.{name}", "type")
    for field in kind_of(job).reference_fields(job):
        require(tier, "references", field)
    _may_show(tier, mode)


def _may_show(tier: Tier, mode: "edge_pb2.ContentMode") -> None:
    if mode > tier.content_mode:
        raise _denied(tier, "nsfw", "content_mode")


def _denied(tier: Tier, permission: str, field: str) -> PermissionDenied:
    return PermissionDenied(f"{f'{field}: ' if field else ''}your tier, {tier.name}, lacks the permission {permission}")
