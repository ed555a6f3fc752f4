"""From a client's request to the complete job that a worker executes, with the decisions that led there.

The order of the steps is that of `Planner._from_prompt` and `Planner._conversation`: permissions, defaults, references
and weights as the request means them, capabilities, moderation of the final texts, reference images, enhancement, token
budget. Cheap refusals come first; nothing is fetched and no model is asked for a request that will be refused.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.contracts.validation import enum_word
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from edge_service.accounts.tiers import tiers
from edge_service.domain.capabilities import check_capabilities
from edge_service.domain.decisions import collecting, decide
from edge_service.domain.job_types import job_types
from edge_service.domain.kinds import CHAT_TURN, WorkerJob, kind_of
from edge_service.domain.plan import Plan
from edge_service.domain.principal import Principal
from edge_service.fleet import Fleet
from edge_service.moderation.moderator import Moderation, Moderator, is_slow
from edge_service.planning import options
from edge_service.planning.conversation import converse, mode_of, system_prompt
from edge_service.planning.defaults import Filled, fill, fill_as_chosen
from edge_service.planning.enhancement import Enhancer
from edge_service.planning.permissions import may_chat, may_repeat, may_submit
from edge_service.planning.token_budget import budget, counter
from edge_service.policy import current
from edge_service.references.resolve import References

# Raises InvalidRequest, naming a field, for a URL that the edge would not call.
CheckUrl = Callable[[str, str], object]


class Planner:
    """Plans what callers ask for, with what the edge knows of workers and reference images."""

    def __init__(
        self, fleet: Fleet, moderation: Moderation, references: References, enhancer: Enhancer, check_url: CheckUrl
    ) -> None:
        self._fleet, self._moderation, self._references = fleet, moderation, references
        self._enhancer, self._check_url = enhancer, check_url

    async def job(self, request: edge_pb2.SubmitJobRequest, caller: Principal, seconds_left: float = math.inf) -> Plan:
        """Plans a submitted job. Raises AtelierError for what cannot or may not be done.

        `seconds_left` is how long the caller still waits for the answer.
        """
        tier = tiers().tiers[caller.tier]
        may_submit(tier, request)
        if request.HasField("webhook"):
            self._check_url("webhook.url", request.webhook.url)
        with collecting() as decisions:
            if kind_of(job_of(request)).has_prompt:
                plan = await self._from_prompt(request, caller, seconds_left)
            else:
                _refuse_prompt_options(request)
                plan = await self._conversation(fill_as_chosen(request), request.chat, "", request.content_mode, caller)
            seconds, priority = options.deadline(request), options.priority(tier, request.priority)
        plan.record.decisions.extend(decisions)
        webhook = request.webhook if request.HasField("webhook") else None
        return replace(plan, deadline_seconds=seconds, priority=priority, webhook=webhook)

    async def turn(self, request: edge_pb2.ChatRequest, caller: Principal) -> Plan:
        """Plans an interactive turn."""
        may_chat(tiers().tiers[caller.tier], request.content_mode)
        with collecting() as decisions:
            asked = request.request
            plan = await self._conversation(fill(asked), asked, request.context, request.content_mode, caller)
        plan.record.decisions.extend(decisions)
        return plan

    async def again(self, plan: Plan, job_id: str, caller: Principal) -> Plan:
        """The plan of an ended job for another run: it stays as it was, but workers, rules, prices and what its owner
        is allowed may be others now.
        """
        tier = tiers().tiers[caller.tier]
        may_repeat(tier, plan.type_name, plan.job, plan.webhook is not None)
        self._check_capabilities(plan.job)
        mode = options.repeated_content_mode(plan.record.content_mode, tier, caller)
        await self._moderation.of(caller, plan.job, mode).check_job(plan.job)
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
        if is_slow(job) or kind.reference_fields(job):
            return True
        return kind.has_prompt and options.is_enhancement_wanted(request.enhancement, job_types()[kind.type_name(job)])

    def credits_of(self, request: edge_pb2.SubmitJobRequest) -> int:
        """What a job costs if it completes."""
        job = job_of(request)
        return job_types()[kind_of(job).type_name(job)].credits

    def credits_of_turn(self) -> int:
        """What an interactive turn costs if it completes."""
        return job_types()[CHAT_TURN].credits

    async def _from_prompt(self, request: edge_pb2.SubmitJobRequest, caller: Principal, seconds_left: float) -> Plan:
        asked, tier = job_of(request), tiers().tiers[caller.tier]
        kind = kind_of(asked)
        mode = options.content_mode(request.content_mode, tier, caller)
        filled = fill_as_chosen(request)
        job = filled.job
        kind.resolve_references(job, asked, request.reference_use, request.enhancement)
        kind.resolve_prompt_weights(job, asked)
        self._check_capabilities(job)
        moderator = self._moderation.of(caller, job, mode)
        decide("content_mode", "", "", await moderator.check_job(job))
        if kind.wanted_references(job):
            await self._references.resolve(job, caller.user_id, tier.allows("references"))
        if options.enhancement(request, filled):
            await self._enhance(job, moderator, seconds_left)
        await budget(job, counter(self._fleet, kind.worker_type))
        return _plan(filled, job, mode, asked.prompt)  # type: ignore[union-attr]  # kinds with a prompt have one

    async def _enhance(self, job: WorkerJob, moderator: Moderator, seconds_left: float) -> None:
        async def check(texts: Mapping[str, str]) -> None:
            kind_of(job).check_prompt_weights(job, texts)
            await moderator.check_job(job, texts, action="enhancement.refused")

        subject = moderator.subject
        enhanced = await self._enhancer.enhance(job, subject.mode, subject.owner, check, seconds_left)
        job.prompt, job.enhancement_source = enhanced.prompt, enhanced.source  # type: ignore[union-attr]
        await moderator.check_job(job)  # whatever it is in the end: it passed before, and is not read again

    async def _conversation(
        self, filled: Filled, asked: chat_pb2.ChatRequest, context: str, wish: "edge_pb2.ContentMode", caller: Principal
    ) -> Plan:
        tier, job = tiers().tiers[caller.tier], filled.job
        mode = options.content_mode(wish, tier, caller, lambda account: mode_of(asked, context, account))
        self._check_capabilities(job)
        # With what the edge will say before it: what is left out later takes nothing away from the judgement.
        said = {"context": system_prompt(context, mode)}
        decide("content_mode", "", "", await self._moderation.of(caller, asked, mode).check_job(asked, said))
        model = enum_word("ChatModel", chat_pb2.ChatModel.Name(job.model))  # type: ignore[union-attr]
        count = counter(self._fleet, filled.job_type.worker_type, model)
        return _plan(filled, await converse(job, context, mode, count), mode, "")  # type: ignore[arg-type]

    def _check_capabilities(self, job: WorkerJob) -> None:
        check_capabilities(job, self._fleet.models().get(kind_of(job).worker_type, ()))


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
