"""What a request chooses besides its parameters, each with the decision that says why: how explicit it may be, whether
its prompt is improved, how long it may take, how urgent it is.
"""

from collections.abc import Callable

from atelier.contracts.errors import InvalidRequest, PermissionDenied, Violation
from atelier.contracts.validation import enum_word
from atelier.pb.edge.v1 import edge_pb2
from edge_service.accounts.tiers import Tier
from edge_service.domain.content_mode import MODES, asked_mode_word, mode_word, strictest
from edge_service.domain.decisions import decide
from edge_service.domain.job_types import JobType
from edge_service.domain.kinds import KINDS
from edge_service.domain.principal import Principal
from edge_service.moderation.rules import content
from edge_service.planning.defaults import Filled
from edge_service.planning.permissions import account_mode

DEFAULT_DEADLINE_SECONDS = 3600.0
# What a conversation makes of the mode that the account may have.
Narrow = Callable[["edge_pb2.ContentMode"], "edge_pb2.ContentMode"]


def strictest_mode(*modes: "edge_pb2.ContentMode") -> "edge_pb2.ContentMode":
    """The strictest of some modes and of what the policy permits at most."""
    return MODES[strictest(*modes, content().most_explicit)]


def content_mode(
    wish: "edge_pb2.ContentMode", tier: Tier, caller: Principal, narrow: Narrow | None = None
) -> "edge_pb2.ContentMode":
    """The content mode that holds: the strictest of request, account and policy, and what `narrow` makes of it."""
    account = strictest_mode(wish, account_mode(tier, caller.content_mode))
    mode = narrow(account) if narrow else account
    asked, word, is_lowered = asked_mode_word(wish), mode_word(mode), bool(wish) and wish != mode
    why = "the strictest of request, account and policy; safe for work where the request names none"
    if mode != account:
        why = f"{word} is what sfw_mode and the context allow at most"
    elif is_lowered:
        why = f"{asked} was asked for, and {word} is the strictest of request, account and policy"
    decide("content_mode", asked, word, why, notable=is_lowered)
    return mode


def repeated_content_mode(made: "edge_pb2.ContentMode", tier: Tier, caller: Principal) -> "edge_pb2.ContentMode":
    """The content mode of a job that is run again. Raises PermissionDenied where the one it was made for no longer
    holds: its texts were made for that one, a system prompt too.
    """
    mode = strictest_mode(made, account_mode(tier, caller.content_mode))
    if mode < made:
        said = f"the job was made as {asked_mode_word(made)}, and you may have {mode_word(mode)} at most"
        raise PermissionDenied(f"content_mode: {said}; submit it anew")
    return mode


def is_enhancement_wanted(choice: edge_pb2.Enhancement, job_type: JobType) -> bool:
    """Whether the prompt is to be improved. Raises InvalidRequest where there is none."""
    if choice == edge_pb2.ENHANCEMENT_ON and not KINDS[job_type.worker_type].enhanced_by:
        raise InvalidRequest(Violation("enhancement", "must be left out for chat, which has no prompt"))
    return choice == edge_pb2.ENHANCEMENT_ON or (job_type.enhanced and choice != edge_pb2.ENHANCEMENT_OFF)


def enhancement(request: edge_pb2.SubmitJobRequest, filled: Filled) -> bool:
    """Whether the prompt is improved."""
    asked = enum_word("Enhancement", edge_pb2.Enhancement.Name(request.enhancement)) if request.enhancement else ""
    is_on = is_enhancement_wanted(request.enhancement, filled.job_type)
    why = "request" if asked else f"default of {filled.type_name}"
    if is_on and request.reference_use == edge_pb2.REFERENCE_USE_EXACT_COPY:
        is_on, why = False, "reference_use exact_copy: none"
    decide("enhancement", asked, "on" if is_on else "off", why)
    return is_on


def deadline(request: edge_pb2.SubmitJobRequest) -> float:
    """How many seconds a job may take, from its submission on."""
    if not request.HasField("deadline"):
        decide("deadline", "", f"{DEFAULT_DEADLINE_SECONDS:g} s", "default of every job")
        return DEFAULT_DEADLINE_SECONDS
    seconds = request.deadline.ToNanoseconds() / 1e9
    decide("deadline", f"{seconds:g} s", f"{seconds:g} s", "request")
    return seconds


def priority(tier: Tier, requested: int = 0) -> int:
    """How urgent a job is; higher goes first. Raises PermissionDenied for a request that the tier does not allow."""
    total, added = tier.priority_of(requested), f"{requested:+d}" if requested else ""
    why = f"that of tier {tier.name}" + (f", {tier.priority}, and {added} of the request" if added else "")
    decide("priority", added, str(total), why)
    return total
