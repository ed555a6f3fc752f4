"""A better prompt or the original one: what a chat model may answer, and what may go wrong with it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from atelier.contracts.errors import (
    ContentForbidden,
    ContentNotAllowed,
    EngineFailed,
    InvalidRequest,
    MalformedMessage,
    NoWorker,
)
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from atelier.pb.worker.v1 import worker_pb2
from chat_service.engine.interface import ChatTurn, Delta, Finished, TextRequest
from edge_service.domain.job_types import job_types
from edge_service.domain.kinds import WorkerJob
from edge_service.fleet import Fleet
from edge_service.fleet.chat_client import ChatWorkers
from edge_service.planning.enhancement import Enhanced, Enhancer, enhance
from edge_service.planning.enhancement_templates import Enhancement, enhancement
from edge_service.planning.options import is_enhancement_wanted
from tests.kit.decided import decided_later
from tests.kit.fake_chat_engine import hangs
from tests.kit.fake_engine import Script
from tests.kit.policy_tables import data, without
from tests.kit.worker_pair import Pair, following

SFW, NSFW = edge_pb2.CONTENT_MODE_SFW, edge_pb2.CONTENT_MODE_NSFW
PROMPT = "a fox\u00a0 in {prompt} snow\n"
GOOD = "A red fox trots through deep snow at dawn, breath in the cold air, soft light, wide shot"


def says(*pieces: str, reason: str = "stop") -> Script:
    """An engine that answers in these pieces."""

    async def script(request: TextRequest) -> AsyncGenerator[Delta | Finished, None]:
        for count, piece in enumerate(pieces, 1):
            yield Delta(piece, count)
        yield Finished("length" if reason == "length" else "stop", len(pieces), 5, 0.1, 0.1)

    return script


def raises(error: Exception) -> Script:
    async def script(request: TextRequest) -> AsyncGenerator[Delta | Finished, None]:
        yield Delta("A red", 1)
        raise error

    return script


async def passes(texts: Mapping[str, str]) -> None: ...


@dataclass(frozen=True)
class Done:
    """A better prompt, who made it, and the decisions that say so."""

    prompt: str
    source: "job_pb2.EnhancementSource"
    decisions: list[edge_pb2.Decision]


async def done_by(work: Awaitable[Enhanced]) -> Done:
    result, decisions = await decided_later(work)
    return Done(result.prompt, result.source, decisions)


def improved(fleet: Fleet, job: WorkerJob, mode: edge_pb2.ContentMode, check: Any = passes, **options: float) -> Any:
    return done_by(Enhancer(fleet, ChatWorkers(fleet, enhancement)).enhance(job, mode, "ann", check, **options))


async def enhanced(
    pair: Pair, script: Script, mode: edge_pb2.ContentMode = SFW, check: object = passes, **options: float
) -> Done:
    pair.engine.act = script
    job = sdxl_pb2.SdxlJob(prompt=PROMPT, type=sdxl_pb2.SDXL_JOB_TYPE_SDXL_IMAGE_FAST)
    return await improved(pair.fleet, job, mode, check, **options)


def failed(done: Done, why: str) -> None:
    """The original prompt, byte for byte, with one decision that says why."""
    assert done.prompt == PROMPT
    assert done.source == job_pb2.ENHANCEMENT_SOURCE_NONE
    (decision,) = done.decisions
    assert (decision.field, decision.to, decision.notable) == ("enhancement_source", "none", True)
    assert decision.why.startswith("enhancement failed: ")
    assert why in decision.why
    assert decision.why.endswith("; the prompt is as it was sent")


async def test_a_good_answer_is_the_prompt_and_the_job_says_who_wrote_it(pair: Pair) -> None:
    done = await enhanced(pair, says(GOOD[:9], GOOD[9:], "\n"))
    assert (done.prompt, done.source) == (GOOD, job_pb2.ENHANCEMENT_SOURCE_QWEN_INSTRUCT)
    (decision,) = done.decisions
    assert (decision.field, decision.to) == ("enhancement_source", "qwen_instruct")
    assert "a-real-name on chat_worker_001" in decision.why


async def test_the_model_is_asked_what_the_policy_says(pair: Pair) -> None:
    await enhanced(pair, says(GOOD), NSFW)
    (asked,) = pair.engine.requests
    table = enhancement()
    template = table.template("qwen_instruct", "sdxl_image_fast", NSFW)
    assert template
    roles = [chat_pb2.CHAT_ROLE_SYSTEM, chat_pb2.CHAT_ROLE_USER]
    assert [message.role for message in template.messages(PROMPT)] == roles
    contents = [message.content for message in template.messages(PROMPT)]
    assert asked.messages == (ChatTurn("system", contents[0]), ChatTurn("user", contents[1]))
    assert PROMPT in contents[1]
    assert (asked.max_tokens, asked.temperature, asked.top_p) == (table.max_tokens, table.temperature, table.top_p)
    assert (asked.model, asked.max_tokens) == ("qwen_instruct", 200)
    prefix, _, rest = asked.request_id.partition("chat_enhance_")
    assert (prefix, len(rest)) == ("", len("1734567890_ghi789"))


async def goes_on_for_ever(request: TextRequest) -> AsyncGenerator[Delta | Finished, None]:
    yield Delta(f" {GOOD}\n", 1)
    yield Delta("\nShort: a wolf\nDetailed: A grey wolf", 2)
    await asyncio.Event().wait()


async def test_a_base_model_is_stopped_where_the_line_ends(pair: Pair) -> None:
    pair.engine.act = goes_on_for_ever
    job = wan_pb2.WanJob(prompt="a fox", type=wan_pb2.WAN_JOB_TYPE_VIDEO_FAST)
    done = await improved(pair.fleet, job, SFW)
    assert (done.prompt, done.source) == (GOOD, job_pb2.ENHANCEMENT_SOURCE_QWEN_BASE)
    assert "another-name on chat_worker_001 improved the prompt" in done.decisions[0].why
    assert done.decisions[0].notable
    async with asyncio.timeout(5):
        await pair.engine.idle.wait()


async def test_videos_are_improved_by_the_base_model_up_to_the_end_of_the_line(pair: Pair) -> None:
    pair.engine.act = says(f" {GOOD}\n", "\nShort: a wolf\nDetailed: A grey wolf", reason="length")
    job = wan_pb2.WanJob(prompt="a fox", type=wan_pb2.WAN_JOB_TYPE_VIDEO7B_FAST_ENHANCED)
    done = await improved(pair.fleet, job, SFW)
    assert (done.prompt, done.source) == (GOOD, job_pb2.ENHANCEMENT_SOURCE_QWEN_BASE)
    (asked,) = pair.engine.requests
    assert asked.model == "qwen_base"
    assert [turn.role for turn in asked.messages] == ["user"]
    assert asked.messages[0].content.endswith("Short: a fox\nDetailed:")


@pytest.mark.parametrize("quoted", [f'"{GOOD}"', f"\u201c{GOOD}\u201d\n", f"  {GOOD}  "])
async def test_marks_around_the_answer_are_not_part_of_the_prompt(pair: Pair, quoted: str) -> None:
    assert (await enhanced(pair, says(quoted))).prompt == GOOD


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (says(), "the answer was empty"),
        (says(" \n", "\t"), "the answer was empty"),
        (says("I'm sorry, ", "but I cannot do that."), "the answer was a refusal"),
        (says(f"Sure, here is the prompt: {GOOD}"), "the answer was talk about the prompt"),
        (says("you rewrite prompts for a model that draws images"), "the answer was the template"),
        (says(PROMPT), "the answer was the prompt itself"),
        (says("x" * 1001), "the answer has 1001 characters, at most 1000 are taken"),
        (says(GOOD, reason="length"), "the answer did not end within 200 tokens"),
        (
            says(" ".join(f"red{n}" for n in range(76))),
            "the answer has 78 tokens of clip_l, of which the model reads 77",
        ),
        (raises(EngineFailed("the model failed")), "no chat worker answered (engine_failed)"),
        (raises(RuntimeError("sentinel-8731")), "no chat worker answered (engine_failed)"),
    ],
)
async def test_what_is_no_prompt_leaves_the_original_as_it_was(pair: Pair, script: Script, why: str) -> None:
    failed(await enhanced(pair, script), why)


async def test_a_model_that_hangs_costs_no_more_time_than_there_is_and_is_stopped(pair: Pair) -> None:
    done = await enhanced(pair, hangs, seconds_left=1.2)
    failed(done, "there was no answer within 0.2 s")
    async with asyncio.timeout(5):
        await pair.engine.idle.wait()


async def test_a_model_that_hangs_costs_no_more_time_than_the_policy_says_and_is_stopped(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Enhancement.model_validate({**data("enhancement"), "seconds": 0.1})
    monkeypatch.setattr("edge_service.planning.enhancement.enhancement", lambda: table)
    failed(await enhanced(pair, hangs), "there was no answer within 0.1 s")  # the caller would wait for ever
    async with asyncio.timeout(5):
        await pair.engine.idle.wait()


async def test_a_caller_who_does_not_wait_gets_the_original_at_once_and_nobody_is_asked(
    pair: Pair,
) -> None:
    failed(await enhanced(pair, says(GOOD), seconds_left=1.0), "the caller waits too short a time for it")
    assert pair.engine.requests == []


@pytest.mark.parametrize(
    ("error", "word"), [(ContentForbidden, "content_forbidden"), (ContentNotAllowed, "content_not_allowed")]
)
async def test_an_answer_that_a_rule_refuses_is_dropped_whole(pair: Pair, error: type[Exception], word: str) -> None:
    checked: list[Mapping[str, str]] = []

    async def check(texts: Mapping[str, str]) -> None:
        checked.append(texts)
        raise error("sentinel-8731")

    done = await enhanced(pair, says(GOOD), check=check)
    failed(done, f"the answer was refused by the rules ({word})")
    assert checked == [{"prompt": GOOD}]
    assert "sentinel" not in str(done.decisions)


async def test_without_a_chat_worker_the_original_goes_on() -> None:
    async with following() as fleet:
        job = sdxl_pb2.SdxlJob(prompt=PROMPT, type=sdxl_pb2.SDXL_JOB_TYPE_SDXL_IMAGE_FAST)
        done = await improved(fleet, job, SFW)
    failed(done, "no chat worker answered (no_worker)")


async def ask_nobody(request: chat_pb2.ChatRequest, enough: object) -> chat_pb2.ChatCallback:
    raise AssertionError("the model was asked")


async def count_nothing(texts: object) -> list[worker_pb2.TokenCount]:
    raise NoWorker("no worker answered")


@pytest.mark.parametrize("mode", [SFW, NSFW])
async def test_without_a_template_of_the_very_mode_no_model_is_asked(
    monkeypatch: pytest.MonkeyPatch, mode: edge_pb2.ContentMode
) -> None:
    word = "sfw" if mode == SFW else "nsfw"
    table = without("qwen_instruct", "sdxl_image_fast", word)
    monkeypatch.setattr("edge_service.planning.enhancement.enhancement", lambda: table)
    done = await done_by(enhance(PROMPT, "qwen_instruct", "sdxl_image_fast", mode, ask_nobody, count_nothing, passes))
    failed(done, f"there is no template of qwen_instruct for sdxl_image_fast in content mode {word}")


@pytest.mark.parametrize("mode", [SFW, NSFW, edge_pb2.CONTENT_MODE_UNSPECIFIED])
async def test_the_request_says_whether_it_is_safe_for_work(mode: edge_pb2.ContentMode) -> None:
    asked: list[chat_pb2.ChatRequest] = []

    async def ask(request: chat_pb2.ChatRequest, enough: object) -> chat_pb2.ChatCallback:
        asked.append(request)
        raise NoWorker("none")

    await done_by(enhance(PROMPT, "qwen_base", "video_fast", mode, ask, count_nothing, passes))
    assert [request.sfw_mode for request in asked] == [mode != NSFW]
    assert ("adults" in asked[0].messages[0].content) == (mode == NSFW)


async def test_an_answer_without_a_text_is_an_empty_one() -> None:
    async def ask(request: chat_pb2.ChatRequest, enough: object) -> chat_pb2.ChatCallback:
        return chat_pb2.ChatCallback()

    failed(
        await done_by(enhance(PROMPT, "qwen_instruct", "sdxl_image_fast", SFW, ask, count_nothing, passes)),
        "the answer was empty",
    )


async def test_an_answer_that_nobody_can_count_is_taken() -> None:
    async def ask(request: chat_pb2.ChatRequest, enough: object) -> chat_pb2.ChatCallback:
        return chat_pb2.ChatCallback(assets=[chat_pb2.ChatAsset(content=GOOD)])

    done = await done_by(enhance(PROMPT, "qwen_instruct", "sdxl_image_fast", SFW, ask, count_nothing, passes))
    assert done.prompt == GOOD


async def test_an_error_of_any_kind_is_told_by_its_reason_alone() -> None:
    async def ask(request: chat_pb2.ChatRequest, enough: object) -> chat_pb2.ChatCallback:
        raise MalformedMessage("sentinel-8731")

    done = await done_by(enhance(PROMPT, "qwen_instruct", "sdxl_image_fast", SFW, ask, count_nothing, passes))
    failed(done, "(malformed_message)")
    assert "sentinel" not in str(done.decisions)


ON, OFF, UNSET = edge_pb2.ENHANCEMENT_ON, edge_pb2.ENHANCEMENT_OFF, edge_pb2.ENHANCEMENT_UNSPECIFIED


@pytest.mark.parametrize(
    ("type_name", "choice", "expected"),
    [
        ("video_fast", UNSET, False),
        ("video_fast", ON, True),
        ("video_fast", OFF, False),
        ("video7b_fast_enhanced", UNSET, True),
        ("video7b_fast_enhanced", ON, True),
        ("video7b_fast_enhanced", OFF, False),
        ("chat_turn", UNSET, False),
        ("chat_turn", OFF, False),
    ],
)
def test_a_prompt_is_improved_when_asked_or_when_its_type_says_so(
    type_name: str, choice: edge_pb2.Enhancement, expected: bool
) -> None:
    assert is_enhancement_wanted(choice, job_types()[type_name]) is expected


def test_chat_has_no_prompt_to_be_improved() -> None:
    with pytest.raises(InvalidRequest, match="enhancement: must be left out for chat"):
        is_enhancement_wanted(ON, job_types()["chat_turn"])
