"""What a request chooses besides its parameters, settled, each with the decision that says why: how explicit it may be,
whether its prompt is improved, how long it may take, how urgent it is.
"""

from edge_service.accounts.tiers import Tier
from edge_service.domain.decisions import decision
from edge_service.domain.principal import Principal
from edge_service.moderation.rules import MODES, content, strictest
from edge_service.planning.defaults import Filled
from edge_service.planning.enhancement import wanted
from edge_service.planning.permissions import account_mode
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.validation_schemas import enum_word

DEFAULT_DEADLINE_SECONDS = 3600.0


def strictest_mode(*modes: "edge_pb2.ContentMode") -> "edge_pb2.ContentMode":
    """The strictest of some modes and of what the policy permits at most."""
    return MODES[strictest(*modes, content().most_explicit)]


def content_mode(
    wish: "edge_pb2.ContentMode", tier: Tier, caller: Principal
) -> tuple["edge_pb2.ContentMode", edge_pb2.Decision]:
    """The content mode that holds, and why."""
    mode = strictest_mode(wish, account_mode(tier, caller.content_mode))
    why = "the strictest of request, account and policy; safe for work where the request names none"
    if is_lowered := bool(wish) and wish != mode:
        why = f"{mode_word(wish)} was asked for, and {mode_word(mode)} is the strictest of request, account and policy"
    return mode, decision("content_mode", mode_word(wish), mode_word(mode), why, notable=is_lowered)


def mode_word(mode: "edge_pb2.ContentMode") -> str:
    """The specification's word; empty for none."""
    return enum_word("ContentMode", edge_pb2.ContentMode.Name(mode)) if mode else ""


def enhancement(request: edge_pb2.SubmitJobRequest, filled: Filled) -> tuple[bool, edge_pb2.Decision]:
    """Whether the prompt of a picture is improved, and why."""
    asked = enum_word("Enhancement", edge_pb2.Enhancement.Name(request.enhancement)) if request.enhancement else ""
    is_on = wanted(request.enhancement, filled.job_type)
    why = "request" if asked else f"default of {filled.type_name}"
    if is_on and request.reference_use == edge_pb2.REFERENCE_USE_EXACT_COPY:
        is_on, why = False, "reference_use exact_copy: none"
    return is_on, decision("enhancement", asked, "on" if is_on else "off", why)


def deadline(request: edge_pb2.SubmitJobRequest) -> tuple[float, edge_pb2.Decision]:
    """How many seconds a job may take, and why."""
    if not request.HasField("deadline"):
        why = "default of every job"
        return DEFAULT_DEADLINE_SECONDS, decision("deadline", "", f"{DEFAULT_DEADLINE_SECONDS:g} s", why)
    seconds = request.deadline.ToNanoseconds() / 1e9
    return seconds, decision("deadline", f"{seconds:g} s", f"{seconds:g} s", "request")


def priority(tier: Tier, requested: int = 0) -> tuple[int, edge_pb2.Decision]:
    """How urgent a job is, and why. Raises PermissionDenied for a request that the tier does not allow."""
    total, added = tier.priority_of(requested), f"{requested:+d}" if requested else ""
    why = f"that of tier {tier.name}" + (f", {tier.priority}, and {added} of the request" if added else "")
    return total, decision("priority", added, str(total), why)
