"""From a client's request to the complete job a worker executes, with the decisions that led there.

The order is that of `Planner._pictures` and `Planner._conversation`: who may ask, what may be said, the defaults,
which pictures, a better prompt, and what of it the model reads. Cheap refusals come first; nothing is fetched and no
model is asked for a request that will be refused.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edge_service.accounts.audit import Audit
from edge_service.accounts.tiers import tiers
from edge_service.adapters.limiter import PerOwnerLimiter
from edge_service.adapters.url_guard import UrlGuard
from edge_service.domain.capabilities import check_capabilities, needs
from edge_service.domain.decisions import decision
from edge_service.domain.job_types import CHAT_TURN, WorkerJob, job_types
from edge_service.domain.principal import Principal
from edge_service.domain.reference_options import resolve_reference_options
from edge_service.fleet import Fleet
from edge_service.fleet.chat_client import ChatWorkers
from edge_service.moderation.classifier import by_chat
from edge_service.moderation.moderator import Moderator, is_long
from edge_service.moderation.rules import content
from edge_service.moderation.text_fields import texts_of
from edge_service.planning import options as settled
from edge_service.planning.chat_contexts import contexts
from edge_service.planning.conversation import converse, mode_of
from edge_service.planning.defaults import Filled, fill, type_name
from edge_service.planning.enhancement import Enhancer, wanted
from edge_service.planning.options import mode_word
from edge_service.planning.permissions import account_mode, may_chat, may_repeat, may_submit, reference_fields
from edge_service.planning.presets import NOTHING, Chosen
from edge_service.planning.prompt_weights import check_weights, weigh
from edge_service.planning.token_budget import budget, counter
from edge_service.policy import current
from edge_service.references.resolve import References
from shared.errors import InvalidRequest, PermissionDenied, Violation
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2
from shared.validation_schemas import enum_word

Picture = sdxl_pb2.SdxlJob | wan_pb2.WanJob


@dataclass(frozen=True)
class Plan:
    """What a worker is to execute: complete but for the ids, which the store gives."""

    type_name: str
    worker_type: str
    job: WorkerJob
    record: edge_pb2.Job
    """What is told of how it came about: decisions, original prompt, content mode, version of the policies."""
    deadline_seconds: float
    priority: int
    needs: Sequence[str]
    """What a worker must offer to get it: models and abilities."""
    credits: int
    webhook: edge_pb2.Webhook | None = None


class Planner:
    """Plans what people ask for, with what the edge knows of workers and pictures."""

    def __init__(self, fleet: Fleet, addresses: UrlGuard, references: References, audit: Audit) -> None:
        self._fleet, self._addresses, self._references, self._audit = fleet, addresses, references, audit
        self._chat = ChatWorkers(fleet)
        self._enhancer = Enhancer(fleet, self._chat)
        self._limiter = PerOwnerLimiter(1, 1)
        self.secret = b""
        """Keeps the digests of the audit log from being guessed; set once the database, which has it, is open."""

    async def job(self, request: edge_pb2.SubmitJobRequest, caller: Principal, seconds_left: float = math.inf) -> Plan:
        """Plans a submitted job. Raises AtelierError for what cannot or may not be done.

        `seconds_left` is how long the caller still waits for the answer.
        """
        tier = tiers().tiers[caller.tier]
        may_submit(tier, request)
        if request.HasField("webhook"):
            self._addresses.check("webhook.url", request.webhook.url)
        asked: WorkerJob = getattr(request, request.WhichOneof("job") or "")
        if isinstance(asked, chat_pb2.ChatRequest):
            _refuse_pictures_choices(request)
            plan = await self._conversation(asked, "", request.content_mode, caller, Chosen.by(request))
        else:
            plan = await self._pictures(request, asked, caller, seconds_left)
        seconds, why_so_long = settled.deadline(request)
        priority, why_so_urgent = settled.priority(tier, request.priority)
        plan.record.decisions.extend([why_so_long, why_so_urgent])
        webhook = request.webhook if request.HasField("webhook") else None
        return replace(plan, deadline_seconds=seconds, priority=priority, webhook=webhook)

    async def turn(self, request: edge_pb2.ChatRequest, caller: Principal) -> Plan:
        """Plans an interactive turn."""
        may_chat(tiers().tiers[caller.tier], request.content_mode)
        return await self._conversation(request.request, request.context, request.content_mode, caller)

    async def again(self, plan: Plan, job_id: str, caller: Principal) -> Plan:
        """The plan of an ended job for another go: it stays as it was, but workers, rules, prices and what its owner is
        allowed may be others now.
        """
        tier = tiers().tiers[caller.tier]
        may_repeat(tier, plan.type_name, plan.job, plan.webhook is not None)
        check_capabilities(plan.job, self._fleet.models().get(plan.worker_type, ()))
        mode = settled.strictest_mode(plan.record.content_mode, account_mode(tier, caller.content_mode))
        if mode < plan.record.content_mode:  # its texts were made for a mode that holds no more, a system prompt too
            made, most = mode_word(plan.record.content_mode), mode_word(mode)
            said = f"the job was made as {made}, and you may have {most} at most"
            raise PermissionDenied(f"content_mode: {said}; submit it anew")
        await self._moderator(mode, plan.type_name, caller).check(texts_of(plan.job))
        record = edge_pb2.Job()
        record.CopyFrom(plan.record)
        kept = [each for each in record.decisions if each.field not in ("retry_of", "priority")]
        why = f"as it was planned; allowed, judged and priced by policies {current().version}"
        priority, why_so_urgent = settled.priority(tier)
        del record.decisions[:]
        record.decisions.extend([*kept, decision("retry_of", "", job_id, why), why_so_urgent])
        return replace(plan, priority=priority, record=record, credits=job_types()[plan.type_name].credits)

    def is_costly(self, request: edge_pb2.SubmitJobRequest) -> bool:
        """Whether planning it asks a model, fetches a picture or reads long texts: worth a look whether it was stored
        before, and whether it would be refused after all that."""
        job: WorkerJob = getattr(request, request.WhichOneof("job") or "")
        if content().classification or is_long(texts_of(job)):
            return True
        if isinstance(job, chat_pb2.ChatRequest):
            return False
        return bool(reference_fields(job)) or wanted(request.enhancement, job_types()[type_name(job)])

    def credits_of(self, request: edge_pb2.SubmitJobRequest) -> int:
        """What a job costs if it completes."""
        return job_types()[type_name(getattr(request, request.WhichOneof("job") or ""))].credits

    def credits_of_turn(self) -> int:
        """What an interactive turn costs if it completes."""
        return job_types()[CHAT_TURN].credits

    async def _pictures(
        self, request: edge_pb2.SubmitJobRequest, asked: Picture, caller: Principal, seconds_left: float
    ) -> Plan:
        tier, name = tiers().tiers[caller.tier], type_name(asked)
        mode, why = settled.content_mode(request.content_mode, tier, caller)
        moderator = self._moderator(mode, name, caller)
        await moderator.check(texts_of(asked))
        filled = fill(asked, Chosen.by(request))
        job = filled.job
        assert isinstance(job, Picture)
        steered = [
            *resolve_reference_options(job, asked, request.reference_use, request.enhancement),
            *weigh(job, asked),
        ]
        check_capabilities(job, self._fleet.models().get(filled.job_type.worker_type, ()))
        rules = decision("content_mode", "", "", await moderator.check(texts_of(job)))
        decisions = [why, rules, *filled.decisions, *steered]
        decisions += await self._references.resolve(job, caller.user_id, tier.allows("references"))
        decisions += await self._enhance(job, request, filled, moderator, seconds_left)
        decisions += await budget(job, counter(self._fleet, filled.job_type.worker_type))
        return _plan(filled, mode, decisions, asked.prompt)

    async def _enhance(
        self,
        job: Picture,
        request: edge_pb2.SubmitJobRequest,
        filled: Filled,
        moderator: Moderator,
        seconds_left: float,
    ) -> list[edge_pb2.Decision]:
        is_on, why = settled.enhancement(request, filled)
        if not is_on:
            return [why]
        others = texts_of(job)

        async def check(texts: Mapping[str, str]) -> None:
            if isinstance(job, sdxl_pb2.SdxlJob) and job.compel_enabled:
                check_weights(texts)
            await moderator.check({**others, **texts}, action="enhancement.refused")

        enhanced = await self._enhancer.enhance(
            job, filled.type_name, moderator.mode, moderator.owner, check, seconds_left
        )
        job.prompt, job.enhancement_source = enhanced.prompt, enhanced.source
        await moderator.check(texts_of(job))
        return [why, *enhanced.decisions]

    async def _conversation(
        self, asked: chat_pb2.ChatRequest, context: str, wish: "edge_pb2.ContentMode", caller: Principal,
        chosen: Chosen = NOTHING,
    ) -> Plan:  # fmt: skip
        account, why = settled.content_mode(wish, tiers().tiers[caller.tier], caller)
        if (mode := mode_of(asked, context, account)) != account:
            because = f"{mode_word(mode)} is what sfw_mode and the context allow at most"
            why = decision("content_mode", mode_word(wish), mode_word(mode), because, notable=bool(wish))
        moderator = self._moderator(mode, type_name(asked), caller)
        # With what the edge will say before it: what is left out later takes nothing away from the judgement.
        said = texts_of(asked, {"context": contexts().context(context).prompt(mode)})
        rules = decision("content_mode", "", "", await moderator.check(said))
        filled = fill(asked, chosen)
        assert isinstance(filled.job, chat_pb2.ChatRequest)
        check_capabilities(filled.job, self._fleet.models().get(filled.job_type.worker_type, ()))
        model = enum_word("ChatModel", chat_pb2.ChatModel.Name(filled.job.model))
        count = counter(self._fleet, filled.job_type.worker_type, model)
        conversation = await converse(filled.job, context, mode, count)
        decisions = [why, rules, *filled.decisions, *conversation.decisions]
        return _plan(replace(filled, job=conversation.request), mode, decisions, "")

    def _moderator(self, mode: "edge_pb2.ContentMode", name: str, caller: Principal) -> Moderator:
        worker_type, classifier = job_types()[name].worker_type, by_chat(self._chat, caller.user_id)
        return Moderator(
            self._audit, caller.user_id, name, mode, caller.tier, worker_type, self.secret, classifier, self._limiter
        )  # fmt: skip


def _plan(
    filled: Filled, mode: "edge_pb2.ContentMode", decisions: Sequence[edge_pb2.Decision], original_prompt: str
) -> Plan:
    record = edge_pb2.Job(
        decisions=decisions, original_prompt=original_prompt, content_mode=mode, policy_version=current().version
    )
    return Plan(
        filled.type_name, filled.job_type.worker_type, filled.job, record, settled.DEFAULT_DEADLINE_SECONDS, 0,
        needs(filled.job), filled.job_type.credits,
    )  # fmt: skip


def _refuse_pictures_choices(request: edge_pb2.SubmitJobRequest) -> None:
    """A chat request has no prompt to improve and no picture to use: what asks for one is refused, not ignored."""
    for field in ("enhancement", "reference_use"):
        if getattr(request, field):
            raise InvalidRequest(Violation(field, "must be left out for chat"))
