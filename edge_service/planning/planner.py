"""From a client's request to the complete job that a worker executes, with the decisions that led there.

The order of the steps is that of `Planner._from_prompt` and `Planner._conversation`: permissions, defaults, references
and weights as the request means them, capabilities, moderation of the final texts, reference images, enhancement, token
budget. Cheap refusals come first; nothing is fetched and no model is asked for a request that will be refused.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from edge_service.accounts.audit import Audit
from edge_service.accounts.tiers import tiers
from edge_service.adapters.limiter import PerOwnerLimiter
from edge_service.adapters.url_guard import UrlGuard
from edge_service.domain.capabilities import check_capabilities
from edge_service.domain.content_mode import asked_mode_word, mode_word
from edge_service.domain.decisions import collecting, decide
from edge_service.domain.job_types import job_types
from edge_service.domain.kinds import CHAT_TURN, WorkerJob, kind_of
from edge_service.domain.plan import Plan
from edge_service.domain.principal import Principal
from edge_service.fleet import Fleet
from edge_service.fleet.chat_client import ChatWorkers
from edge_service.moderation.classifier import by_chat
from edge_service.moderation.moderator import Moderator, is_long
from edge_service.moderation.rules import content
from edge_service.moderation.text_fields import texts_of
from edge_service.planning import options
from edge_service.planning.chat_contexts import contexts
from edge_service.planning.conversation import converse, mode_of
from edge_service.planning.defaults import Filled, fill
from edge_service.planning.enhancement import Enhancer, wanted
from edge_service.planning.enhancement_templates import enhancement
from edge_service.planning.permissions import account_mode, may_chat, may_repeat, may_submit
from edge_service.planning.presets import NOTHING, Chosen
from edge_service.planning.token_budget import budget, counter
from edge_service.policy import current
from edge_service.references.resolve import References
from shared.errors import InvalidRequest, PermissionDenied, Violation
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.validation_schemas import enum_word


class Planner:
    """Plans what callers ask for, with what the edge knows of workers and reference images."""

    def __init__(self, fleet: Fleet, url_guard: UrlGuard, references: References, audit: Audit) -> None:
        self._fleet, self._url_guard, self._references, self._audit = fleet, url_guard, references, audit
        self._chat = ChatWorkers(fleet, enhancement)
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
            self._url_guard.check("webhook.url", request.webhook.url)
        asked = job_of(request)
        with collecting() as decisions:
            if kind_of(asked).has_prompt:
                plan = await self._from_prompt(request, asked, caller, seconds_left)
            else:
                _refuse_prompt_options(request)
                plan = await self._conversation(request.chat, "", request.content_mode, caller, Chosen.by(request))
            seconds, priority = options.deadline(request), options.priority(tier, request.priority)
        plan.record.decisions.extend(decisions)
        webhook = request.webhook if request.HasField("webhook") else None
        return replace(plan, deadline_seconds=seconds, priority=priority, webhook=webhook)

    async def turn(self, request: edge_pb2.ChatRequest, caller: Principal) -> Plan:
        """Plans an interactive turn."""
        may_chat(tiers().tiers[caller.tier], request.content_mode)
        with collecting() as decisions:
            plan = await self._conversation(request.request, request.context, request.content_mode, caller)
        plan.record.decisions.extend(decisions)
        return plan

    async def again(self, plan: Plan, job_id: str, caller: Principal) -> Plan:
        """The plan of an ended job for another run: it stays as it was, but workers, rules, prices and what its owner
        is allowed may be others now.
        """
        tier = tiers().tiers[caller.tier]
        may_repeat(tier, plan.type_name, plan.job, plan.webhook is not None)
        check_capabilities(plan.job, self._fleet.models().get(plan.worker_type, ()))
        mode = options.strictest_mode(plan.record.content_mode, account_mode(tier, caller.content_mode))
        if mode < plan.record.content_mode:  # its texts were made for a mode that no longer holds, a system prompt too
            made, most = asked_mode_word(plan.record.content_mode), mode_word(mode)
            said = f"the job was made as {made}, and you may have {most} at most"
            raise PermissionDenied(f"content_mode: {said}; submit it anew")
        await self._moderator(mode, plan.type_name, caller).check(texts_of(plan.job))
        record = edge_pb2.Job()
        record.CopyFrom(plan.record)
        kept = [each for each in record.decisions if each.field not in ("retry_of", "priority")]
        with collecting() as decisions:
            why = f"as it was planned; allowed, moderated and priced by policies {current().version}"
            decide("retry_of", "", job_id, why)
            priority = options.priority(tier)
        del record.decisions[:]
        record.decisions.extend([*kept, *decisions])
        return replace(plan, priority=priority, record=record, credits=job_types()[plan.type_name].credits)

    def is_costly(self, request: edge_pb2.SubmitJobRequest) -> bool:
        """Whether planning it asks a model, fetches an image or reads long texts: worth finding out first whether it
        was stored before, and whether it would be refused after all that."""
        job = job_of(request)
        kind = kind_of(job)
        if content().classification or is_long(texts_of(job)):
            return True
        if kind.reference_fields(job):
            return True
        return kind.has_prompt and wanted(request.enhancement, job_types()[kind.type_name(job)])

    def credits_of(self, request: edge_pb2.SubmitJobRequest) -> int:
        """What a job costs if it completes."""
        job = job_of(request)
        return job_types()[kind_of(job).type_name(job)].credits

    def credits_of_turn(self) -> int:
        """What an interactive turn costs if it completes."""
        return job_types()[CHAT_TURN].credits

    async def _from_prompt(
        self, request: edge_pb2.SubmitJobRequest, asked: WorkerJob, caller: Principal, seconds_left: float
    ) -> Plan:
        tier, kind = tiers().tiers[caller.tier], kind_of(asked)
        mode = options.content_mode(request.content_mode, tier, caller)
        filled = fill(asked, Chosen.by(request))
        job = filled.job
        kind.resolve_references(job, asked, request.reference_use, request.enhancement)
        kind.resolve_prompt_weights(job, asked)
        check_capabilities(job, self._fleet.models().get(kind.worker_type, ()))
        moderator = self._moderator(mode, filled.type_name, caller)
        decide("content_mode", "", "", await moderator.check(texts_of(job)))
        await self._references.resolve(job, caller.user_id, tier.allows("references"))
        if options.enhancement(request, filled):
            await self._enhance(job, moderator, seconds_left)
        await budget(job, counter(self._fleet, kind.worker_type))
        return _plan(filled, job, mode, asked.prompt)  # type: ignore[union-attr]  # kinds with a prompt have one

    async def _enhance(self, job: WorkerJob, moderator: Moderator, seconds_left: float) -> None:
        others, kind = texts_of(job), kind_of(job)

        async def check(texts: Mapping[str, str]) -> None:
            kind.check_prompt_weights(job, texts)
            await moderator.check({**others, **texts}, action="enhancement.refused")

        enhanced = await self._enhancer.enhance(job, moderator.mode, moderator.owner, check, seconds_left)
        job.prompt, job.enhancement_source = enhanced.prompt, enhanced.source  # type: ignore[union-attr]
        await moderator.check(texts_of(job))  # whatever it is in the end; it has passed before, or is refused here

    async def _conversation(
        self, asked: chat_pb2.ChatRequest, context: str, wish: "edge_pb2.ContentMode", caller: Principal,
        chosen: Chosen = NOTHING,
    ) -> Plan:  # fmt: skip
        tier = tiers().tiers[caller.tier]
        mode = options.content_mode(wish, tier, caller, lambda account: mode_of(asked, context, account))
        filled = fill(asked, chosen)
        check_capabilities(filled.job, self._fleet.models().get(filled.job_type.worker_type, ()))
        # With what the edge will say before it: what is left out later takes nothing away from the judgement.
        said = texts_of(asked, {"context": contexts().context(context).prompt(mode)})
        moderator = self._moderator(mode, filled.type_name, caller)
        decide("content_mode", "", "", await moderator.check(said))
        model = enum_word("ChatModel", chat_pb2.ChatModel.Name(filled.job.model))  # type: ignore[union-attr]
        count = counter(self._fleet, filled.job_type.worker_type, model)
        conversation = await converse(filled.job, context, mode, count)  # type: ignore[arg-type]
        return _plan(filled, conversation, mode, "")

    def _moderator(self, mode: "edge_pb2.ContentMode", name: str, caller: Principal) -> Moderator:
        worker_type, classifier = job_types()[name].worker_type, by_chat(self._chat, caller.user_id)
        return Moderator(
            self._audit, caller.user_id, name, mode, caller.tier, worker_type, self.secret, classifier, self._limiter
        )  # fmt: skip


def job_of(request: edge_pb2.SubmitJobRequest) -> WorkerJob:
    """The job message of a submission."""
    job: WorkerJob = getattr(request, request.WhichOneof("job") or "")
    return job


def _plan(filled: Filled, job: WorkerJob, mode: "edge_pb2.ContentMode", original_prompt: str) -> Plan:
    """The plan without its decisions, of which there will be more."""
    record = edge_pb2.Job(original_prompt=original_prompt, content_mode=mode, policy_version=current().version)
    return Plan(
        filled.type_name, filled.job_type.worker_type, job, record, options.DEFAULT_DEADLINE_SECONDS, 0,
        kind_of(job).needs(job), filled.job_type.credits,
    )  # fmt: skip


def _refuse_prompt_options(request: edge_pb2.SubmitJobRequest) -> None:
    """A chat request has no prompt to improve and no image to use: what asks for one is refused, not ignored."""
    for field in ("enhancement", "reference_use"):
        if getattr(request, field):
            raise InvalidRequest(Violation(field, "must be left out for chat"))
