"""Token budgets: how much of a text is read by the model it is for, counted with the model's own tokenizers.

A worker counts, because it has them; it does so beside its jobs. Nothing is cut here: a prompt that is too long runs as
it is, and the job says what of it is not read.
"""

import contextlib
import random
import re
from collections.abc import Awaitable, Callable, Sequence

from atelier.contracts.errors import AtelierError, NoWorker
from atelier.pb.worker.v1 import worker_pb2
from edge_service.domain.decisions import decide
from edge_service.domain.kinds import WorkerJob, kind_of
from edge_service.fleet import Fleet, Worker
from edge_service.fleet.circuit_breaker import State

Counts = Sequence[worker_pb2.TokenCount]
# Texts -> what each tokenizer of one model makes of them. Raises AtelierError if no worker answers.
Count = Callable[[Sequence[str]], Awaitable[Counts]]

TRIES, SECONDS_A_TRY = 2, 1.0
NOT_COUNTED = "tokens were not counted: no worker answered"


def counter(fleet: Fleet, worker_type: str, model: str = "") -> Count:
    """Counts for one kind of worker; for the model it has loaded, unless `model` names one. Takes 2 s at most."""

    async def count(texts: Sequence[str]) -> Counts:
        for worker, name in _reached(fleet, worker_type, model)[:TRIES]:
            with contextlib.suppress(AtelierError):
                return await worker.count_tokens(name, texts, SECONDS_A_TRY)
        raise NoWorker(NOT_COUNTED)

    return count


def _reached(fleet: Fleet, worker_type: str, model: str) -> list[tuple[Worker, str]]:
    """The connected workers that have loaded the model, each with its name; those that are trusted first."""
    of_type = [worker for worker in fleet.connected() if worker.worker_type == worker_type and not worker.leaving]
    random.shuffle(of_type)
    of_type.sort(key=lambda worker: worker.breaker.state is not State.TRUSTED)
    loaded = [(worker, list(worker.status.loaded_models) if worker.status else []) for worker in of_type]
    return [(worker, model or names[0]) for worker, names in loaded if (model in names if model else names)]


async def budget(job: WorkerJob, count: Count) -> None:
    """Records a decision for each of the job's prompts of which the model will not read all."""
    texts = {field: text for field, text in kind_of(job).read_once(job).items() if text}
    try:
        counts = await count(list(texts.values())) if texts else ()
    except AtelierError:
        decide("prompt", "", "", NOT_COUNTED)
        return
    for place, (field, text) in enumerate(texts.items()):
        if measured := _shortest(counts, place):
            _tell_lost(field, text, measured)


Measured = tuple[str, int, int, int]
"""The count of the tokenizer that reads least of a text: its name, tokens, limit, characters read."""


def _shortest(counts: Counts, place: int) -> Measured | None:
    over = [
        (count.tokenizer, count.tokens[place], count.limit, count.read_characters[place])
        for count in counts
        if count.tokens[place] > count.limit and count.read_characters
    ]
    return min(over, key=lambda measured: measured[-1], default=None)


def _tell_lost(field: str, text: str, measured: Measured) -> None:
    tokenizer, tokens, limit, read = measured
    ends = [word.end() for word in re.finditer(r"\S+", text)]
    lost = sum(end > read for end in ends)
    why = (
        f"the model reads {limit} tokens of {tokenizer}: from character {read + 1} of {len(text)} on nothing is read,"
        f" the last {lost} of {len(ends)} words"
    )
    decide(field, f"{tokens} tokens", f"{limit} tokens", why, notable=True)
