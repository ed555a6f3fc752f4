"""How much of a prompt is read, by the tokenizers of the small models, and what the job says of the rest."""

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, CLIPTokenizer

from atelier.contracts.errors import NoWorker
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from atelier.pb.worker.v1 import worker_pb2
from atelier.small_models import ensure
from edge_service.domain.kinds import WorkerJob
from edge_service.planning.token_budget import NOT_COUNTED, Count, Counts, budget, counter
from shared.worker.tokens import Counter, TokenCount
from tests.kit.decided import decided_later
from tests.kit.worker_pair import Pair, following

LONG = ", ".join(f"{word} lighthouse" for word in ("red", "tall", "old", "white", "burning") * 8)


async def told_lost(job: WorkerJob, count: Count) -> list[edge_pb2.Decision]:
    """What of a job's prompts is not read."""
    return (await decided_later(budget(job, count)))[1]


@cache
def tokenizers(worker_type: str) -> tuple[list[Any], int]:
    folder: Path = ensure([worker_type])[worker_type]
    if worker_type == "sdxl":
        return [CLIPTokenizer.from_pretrained(folder / name) for name in ("tokenizer", "tokenizer_2")], 77
    return [AutoTokenizer.from_pretrained(folder / "tokenizer")], 512


def count_by(worker_type: str) -> Any:
    """Counts as a worker of this type does."""

    async def count(texts: Sequence[str]) -> Counts:
        found, limit = tokenizers(worker_type)
        names = ("clip_l", "clip_g") if worker_type == "sdxl" else ("umt5",)
        pairs = zip(names, found, strict=True)
        counters = [Counter(name, tokenizer.backend_tokenizer, limit) for name, tokenizer in pairs]
        return [worker_pb2.TokenCount(**vars(counter.count(texts))) for counter in counters]

    return count


def image(prompt: str, negative_prompt: str = "", **fields: Any) -> sdxl_pb2.SdxlJob:
    return sdxl_pb2.SdxlJob(prompt=prompt, config=sdxl_pb2.SdxlConfig(negative_prompt=negative_prompt), **fields)


async def test_an_image_prompt_that_is_read_to_its_end_needs_no_decision() -> None:
    words = "red " * 75
    assert len(tokenizers("sdxl")[0][0](words).input_ids) == 77
    assert await told_lost(image(words, words), count_by("sdxl")) == []


async def test_one_word_more_is_reported() -> None:
    (decision,) = await told_lost(image("red " * 75 + "fox"), count_by("sdxl"))
    assert (decision.field, getattr(decision, "from"), decision.to) == ("prompt", "78 tokens", "77 tokens")
    assert decision.notable
    assert decision.why == (
        "the model reads 77 tokens of clip_l: from character 300 of 303 on nothing is read, the last 1 of 76 words"
    )


async def test_what_is_reported_as_not_read_is_what_the_tokenizer_cuts_off() -> None:
    job = image(LONG)
    (decision,) = await told_lost(job, count_by("sdxl"))
    place = int(decision.why.split("from character ")[1].split(" ")[0]) - 1
    clip = tokenizers("sdxl")[0][0]
    cut = clip(LONG, truncation=True, max_length=77).input_ids
    assert clip(LONG[:place]).input_ids == cut
    lost = int(decision.why.split("the last ")[1].split(" ")[0])
    assert LONG.split()[-lost:] == LONG[place:].removeprefix(",").split()
    assert job.prompt == LONG, "nothing is cut here"


async def test_a_negative_prompt_has_the_same_budget() -> None:
    (decision,) = await told_lost(image("a fox", LONG), count_by("sdxl"))
    assert decision.field == "config.negative_prompt"
    wan = wan_pb2.WanJob(prompt="a fox", sampling=wan_pb2.WanSampling(negative_prompt=LONG * 5))
    (decision,) = await told_lost(wan, count_by("wan"))
    assert decision.field == "sampling.negative_prompt"
    assert "512 tokens of umt5" in decision.why


async def test_a_video_prompt_is_read_further() -> None:
    assert await told_lost(wan_pb2.WanJob(prompt=LONG), count_by("wan")) == []


async def test_text_without_spaces_is_told_by_its_characters() -> None:
    prompt = "狐狸" * 100
    (decision,) = await told_lost(image(prompt), count_by("sdxl"))
    assert "of 200 on nothing is read, the last 1 of 1 words" in decision.why


async def test_what_compel_reads_in_pieces_has_no_end() -> None:
    assert await told_lost(image(LONG, LONG, compel_enabled=True), count_by("sdxl")) == []


async def test_the_report_holds_no_content() -> None:
    (decision,) = await told_lost(image(LONG), count_by("sdxl"))
    assert "lighthouse" not in str(decision)


async def test_if_nobody_counts_the_job_says_so() -> None:
    async with following() as fleet:
        (decision,) = await told_lost(image(LONG), counter(fleet, "sdxl"))
    assert (decision.field, decision.why) == ("prompt", NOT_COUNTED)


async def test_a_worker_of_the_type_counts_by_the_model_it_has_loaded(pair: Pair) -> None:
    counts = await counter(pair.fleet, "sdxl")(["a red boat"])
    assert [(count.tokenizer, list(count.tokens)) for count in counts] == [("clip_l", [5]), ("clip_g", [5])]


async def test_a_model_that_is_named_is_the_one_that_counts(pair: Pair) -> None:
    for model, limit in (("qwen_instruct", 2048), ("qwen_base", 1024)):
        (count,) = await counter(pair.fleet, "chat", model)(["x"])
        assert (count.limit, count.tokens_per_message) == (limit, 5)
    with pytest.raises(NoWorker):
        await counter(pair.fleet, "chat", "flux")(["x"])


async def test_a_worker_without_a_free_slot_counts_all_the_same(pair: Pair) -> None:
    for worker in pair.fleet.workers:
        worker.in_flight = 100
    assert await counter(pair.fleet, "sdxl")(["x"])


async def test_a_worker_that_hangs_is_not_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_service.planning.token_budget.SECONDS_A_TRY", 0.1)
    ends = threading.Event()
    monkeypatch.setattr(pair.images, "count_tokens", lambda texts: ends.wait(10))
    with pytest.raises(NoWorker, match="tokens were not counted"):
        await counter(pair.fleet, "sdxl")(["x"])
    ends.set()


@pytest.mark.parametrize(
    "claim",
    [
        [],
        [TokenCount("clip_l", (), 77)],
        [TokenCount("clip_l", (1, 2), 77)],
        [TokenCount("clip_l", (1,), 0)],
        [TokenCount("clip_l", (1,), 77, read_characters=(1, 1))],
        [TokenCount("clip_l", (1,), 77, read_characters=(2,))],
    ],
)
async def test_a_count_that_cannot_be_is_none(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, claim: list[TokenCount]
) -> None:
    monkeypatch.setattr(pair.images, "count_tokens", lambda texts: claim)
    with pytest.raises(NoWorker):
        await counter(pair.fleet, "sdxl")(["x"])
