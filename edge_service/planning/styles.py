"""Qualities and styles: words of the policy that are added to the prompt and to the negative prompt."""

from functools import cache
from typing import cast

from google.protobuf.descriptor import Descriptor

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.contracts.validation import rules
from edge_service.domain.decisions import decide
from edge_service.domain.kinds import WorkerJob, kind_of
from edge_service.planning.presets import PROMPT, Choices, Chosen, Words, picked


def add_words(job: WorkerJob, table: Choices, chosen: Chosen) -> None:
    """Adds the words of the style, then those of the quality.

    Raises InvalidRequest for an unknown name, for a job without a prompt, and for a text that the words make too long.
    """
    for field, known, name in (("style", table.styles, chosen.style), ("quality", table.qualities, chosen.quality)):
        if not name:
            continue
        if not kind_of(job).has_prompt:
            raise InvalidRequest(Violation(field, f"a chat request has no prompt to add words to, got '{name}'"))
        _add(job, picked(field, known, name), f"{field} {name}")


def _add(job: WorkerJob, words: Words, why: str) -> None:
    _set(job, "prompt", words.prompt.replace(PROMPT, _get(job, "prompt")), why)
    path = kind_of(job).negative_prompt
    if words.negative_prompt and path:
        _set(job, path, ", ".join(filter(None, (_get(job, path), words.negative_prompt))), why)


def _get(job: WorkerJob, path: str) -> str:
    part, _, field = path.rpartition(".")
    return str(getattr(getattr(job, part) if part else job, field))


def _set(job: WorkerJob, path: str, text: str, why: str) -> None:
    before, most = _get(job, path), _max_characters(cast(Descriptor, job.DESCRIPTOR))[path]
    if len(text) > most:
        said = f"must be at most {most} characters with the words of {why}, got {len(text)}"
        raise InvalidRequest(Violation(f"{kind_of(job).worker_type}.{path}", said))
    if text != before:
        decide(path, before, text, why)
        part, _, field = path.rpartition(".")
        setattr(getattr(job, part) if part else job, field, text)


@cache
def _max_characters(job: Descriptor) -> dict[str, int]:
    """The most characters of each text of a job, as its contract says."""
    return {rule.field: int(rule.maximum) for rule in rules(job) if rule.type == "string" and rule.maximum is not None}
