"""A prompt -> a better prompt, by a chat model, or the prompt as it was.

Whatever goes wrong, the job runs with the original prompt, byte for byte, and says that it was not improved and why.

The text that comes back has no rights of its own: it is checked as if a person had sent it. If a rule refuses it, even
the one that cannot be switched off, that is one more failure of the model and not of the person, whose own prompt has
passed the same checks before a model saw it; a prompt that has not is never sent to one, nor does it get here. So the
refused text is dropped whole, never mended, and the original goes on, which its caller checks once more.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from atelier.contracts.errors import AtelierError, reason_word
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.domain.content_mode import mode_word
from edge_service.domain.decisions import decide
from edge_service.domain.kinds import WorkerJob, kind_of
from edge_service.domain.kinds.kind import ChatModel
from edge_service.fleet import Fleet
from edge_service.fleet.chat_client import ChatWorkers, Enough
from edge_service.planning.enhancement_filter import problem
from edge_service.planning.enhancement_templates import Enhancement, Template, enhancement
from edge_service.planning.token_budget import Count, counter

# A question for a chat model, and whether what it said so far is enough -> its answer. Raises AtelierError.
Ask = Callable[[chat_pb2.ChatRequest, Enough], Awaitable[chat_pb2.ChatCallback]]
# Texts by field. Raises AtelierError for what a rule refuses.
Check = Callable[[Mapping[str, str]], Awaitable[object]]

SOURCES = {
    "qwen_instruct": job_pb2.ENHANCEMENT_SOURCE_QWEN_INSTRUCT,
    "qwen_base": job_pb2.ENHANCEMENT_SOURCE_QWEN_BASE,
}
MODEL_ENUMS = {"qwen_instruct": chat_pb2.CHAT_MODEL_QWEN_INSTRUCT, "qwen_base": chat_pb2.CHAT_MODEL_QWEN_BASE}
# What of the time that the caller still waits is left for the rest of the work.
RESERVE_SECONDS = 1.0


@dataclass(frozen=True)
class Enhanced:
    """The prompt that the job gets, and who made it: unspecified if no model was asked, none if it did not work."""

    prompt: str
    source: "job_pb2.EnhancementSource" = job_pb2.ENHANCEMENT_SOURCE_UNSPECIFIED


class _Failed(Exception):
    """Why there is no better prompt, in words that hold no content."""


async def enhance(
    prompt: str,
    model: ChatModel,
    type_name: str,
    mode: edge_pb2.ContentMode,
    ask: Ask,
    count: Count,
    check: Check,
    seconds_left: float = math.inf,
) -> Enhanced:
    """The prompt of a job of this type as the chat model writes it.

    `seconds_left` is how long the caller still waits. Raises nothing for what goes wrong: then it is the original.
    """
    table = enhancement()
    template = table.template(model, type_name, mode)
    try:
        if template is None:
            raise _Failed(f"there is no template of {model} for {type_name} in content mode {mode_word(mode)}")
        request = _request(template, prompt, model, mode, table)
        callback = await _asked(ask, request, template, min(table.seconds, seconds_left - RESERVE_SECONDS))
        better = _better(callback, template, prompt, table)
        await _passes(check, better)
        await _fits(count, better)
    except _Failed as failure:
        why = f"enhancement failed: {failure}; the prompt is as it was sent"
        decide("enhancement_source", "", "none", why, notable=True)
        return Enhanced(prompt, job_pb2.ENHANCEMENT_SOURCE_NONE)
    decide("enhancement_source", "", model, _credit(callback), notable=True)
    return Enhanced(better, SOURCES[model])


def _request(
    template: Template, prompt: str, model: str, mode: edge_pb2.ContentMode, table: Enhancement
) -> chat_pb2.ChatRequest:
    return chat_pb2.ChatRequest(
        messages=template.messages(prompt),
        max_tokens=table.max_tokens,
        temperature=table.temperature,
        top_p=table.top_p,
        model=MODEL_ENUMS[model],
        sfw_mode=mode_word(mode) == "sfw",
    )


async def _asked(ask: Ask, request: chat_pb2.ChatRequest, template: Template, seconds: float) -> chat_pb2.ChatCallback:
    if seconds <= 0:
        raise _Failed("the caller waits too short a time for it")
    try:
        async with asyncio.timeout(seconds):
            return await ask(request, template.enough)
    except TimeoutError:
        raise _Failed(f"there was no answer within {seconds:.1f} s") from None
    except AtelierError as error:
        raise _Failed(f"no chat worker answered ({reason_word(error).lower()})") from None


def _better(callback: chat_pb2.ChatCallback, template: Template, prompt: str, table: Enhancement) -> str:
    """The better prompt in an answer."""
    asset = callback.assets[0] if callback.assets else chat_pb2.ChatAsset()
    cut_off = asset.metadata.finish_reason == chat_pb2.CHAT_FINISH_REASON_LENGTH
    if cut_off and not template.enough(asset.content):
        raise _Failed(f"the answer did not end within {table.max_tokens} tokens")
    answer = template.answer(asset.content)
    if found := problem(answer, prompt, template, table):
        raise _Failed(found)
    return answer


async def _passes(check: Check, better: str) -> None:
    try:
        await check({"prompt": better})
    except AtelierError as error:
        raise _Failed(f"the answer was refused by the rules ({reason_word(error).lower()})") from None


async def _fits(count: Count, better: str) -> None:
    try:
        counts = await count([better])
    except AtelierError:
        return  # it is counted once more when all is added, and the job then says that no worker could
    for found in counts:
        if found.tokens[0] > found.limit:
            have = f"the answer has {found.tokens[0]} tokens of {found.tokenizer}"
            raise _Failed(f"{have}, of which the model reads {found.limit}")


def _credit(callback: chat_pb2.ChatCallback) -> str:
    seconds, name = callback.metadata.processing_time, callback.assets[0].metadata.model_name
    return f"{name} on {callback.worker_id} improved the prompt in {seconds:.1f} s, as {callback.job_id}"


class Enhancer:
    """Improves prompts with the chat workers of a fleet."""

    def __init__(self, fleet: Fleet, chat: ChatWorkers) -> None:
        self._fleet, self._chat = fleet, chat

    async def enhance(
        self, job: WorkerJob, mode: edge_pb2.ContentMode, owner: str, check: Check, seconds_left: float = math.inf
    ) -> Enhanced:
        """See `enhance`. `owner` is whose job it is; its kind has a model that improves prompts."""
        kind = kind_of(job)
        if kind.enhanced_by is None:
            raise ValueError(f"{kind.worker_type} jobs have no prompt to improve")
        ask, count = partial(self._chat.ask, owner), counter(self._fleet, kind.worker_type)
        prompt = job.prompt  # type: ignore[union-attr]  # a kind with a model that improves prompts has one
        return await enhance(prompt, kind.enhanced_by, kind.type_name(job), mode, ask, count, check, seconds_left)
