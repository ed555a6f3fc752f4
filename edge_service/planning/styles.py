"""Qualities and styles: words of the policy that are added to the prompt and to the negative prompt."""

from functools import cache
from typing import cast

from google.protobuf.descriptor import Descriptor

from edge_service.domain.decisions import decision
from edge_service.domain.partial_job import WorkerJob
from edge_service.planning.presets import PROMPT, Choices, Chosen, Words, picked
from shared.errors import InvalidRequest, Violation
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2
from shared.validation_schemas import rules

Picture = sdxl_pb2.SdxlJob | wan_pb2.WanJob


def add_words(job: WorkerJob, table: Choices, chosen: Chosen, decisions: list[edge_pb2.Decision]) -> None:
    """Adds the words of the style, then those of the quality.

    Raises InvalidRequest for an unknown name, for a job without a prompt, and for a text that the words make too long.
    """
    for field, known, name in (("style", table.styles, chosen.style), ("quality", table.qualities, chosen.quality)):
        if not name:
            continue
        if isinstance(job, chat_pb2.ChatRequest):
            raise InvalidRequest(Violation(field, f"a chat request has no prompt to add words to, got '{name}'"))
        _add(job, picked(field, known, name), f"{field} {name}", decisions)


def _add(job: Picture, words: Words, why: str, decisions: list[edge_pb2.Decision]) -> None:
    prompt = _checked(job, "prompt", words.prompt.replace(PROMPT, job.prompt), why)
    if prompt != job.prompt:
        decisions.append(decision("prompt", job.prompt, prompt, why))
        job.prompt = prompt
    if not words.negative_prompt:
        return
    part = job.config if isinstance(job, sdxl_pb2.SdxlJob) else job.sampling
    path = f"{'config' if isinstance(job, sdxl_pb2.SdxlJob) else 'sampling'}.negative_prompt"
    before = part.negative_prompt
    after = _checked(job, path, ", ".join(filter(None, (before, words.negative_prompt))), why)
    decisions.append(decision(path, before, after, why))
    part.negative_prompt = after


def _checked(job: Picture, path: str, text: str, why: str) -> str:
    most = _longest(cast(Descriptor, job.DESCRIPTOR))[path]
    if len(text) > most:
        kind = "sdxl" if isinstance(job, sdxl_pb2.SdxlJob) else "wan"
        said = f"must be at most {most} characters with the words of {why}, got {len(text)}"
        raise InvalidRequest(Violation(f"{kind}.{path}", said))
    return text


@cache
def _longest(job: Descriptor) -> dict[str, int]:
    """The most characters of each text of a job, as its contract says."""
    return {rule.field: int(rule.maximum) for rule in rules(job) if rule.type == "string" and rule.maximum is not None}
