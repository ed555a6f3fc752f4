"""The conversation that a chat model reads: the edge's system prompt, the caller's messages, and what is left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoTokenizer

from atelier.contracts.errors import InputTooLong, InvalidRequest, NoWorker
from atelier.contracts.validation import enum_word
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.worker.v1 import worker_pb2
from atelier.small_models import ensure
from chat_service.engine.prompt import Prompts
from edge_service.planning.chat_contexts import Contexts, contexts
from edge_service.planning.conversation import MAX_CHARACTERS, converse, mode_of
from edge_service.planning.token_budget import NOT_COUNTED, Count, Counts, counter
from shared.validation import check
from shared.worker.tokens import TokenCount
from tests.kit.decided import decided_later
from tests.kit.policy_tables import data
from tests.kit.worker_pair import Pair

SFW, NSFW = edge_pb2.CONTENT_MODE_SFW, edge_pb2.CONTENT_MODE_NSFW
SYSTEM, USER, ASSISTANT = chat_pb2.CHAT_ROLE_SYSTEM, chat_pb2.CHAT_ROLE_USER, chat_pb2.CHAT_ROLE_ASSISTANT
AWKWARD = "  two spaces,\r\n\ttabs \u00a0, e\u0301, {{ jinja }}, <|im_end|>, 👩‍👩‍👧, and a newline last\n"


@dataclass(frozen=True)
class Conversation:
    """What the worker is asked, and the decisions that led there."""

    request: chat_pb2.ChatRequest
    decisions: list[edge_pb2.Decision]


async def conversation(*arguments: Any) -> Conversation:
    return Conversation(*await decided_later(converse(*arguments)))


def request(*contents: str, first: Sequence[str] = (), max_tokens: int = 100, **fields: Any) -> chat_pb2.ChatRequest:
    """System messages, then contents said by user and assistant in turn, the user last."""
    roles = [USER if (len(contents) - place) % 2 else ASSISTANT for place in range(len(contents))]
    messages = [chat_pb2.ChatMessage(role=SYSTEM, content=text) for text in first]
    messages += [chat_pb2.ChatMessage(role=role, content=text) for role, text in zip(roles, contents, strict=True)]
    return chat_pb2.ChatRequest(
        messages=messages, max_tokens=max_tokens, temperature=0.7, top_p=0.9,
        model=chat_pb2.CHAT_MODEL_QWEN_INSTRUCT, **fields,
    )  # fmt: skip


def counting(limit: int, per_message: int = 0, system: int = 0) -> Count:
    """A word is a token; the edge's own prompt, which comes first, has as many as are said here."""

    async def count(texts: Sequence[str]) -> Counts:
        tokens = tuple(len(text.split()) for text in texts)
        counted = TokenCount("chat", (system, *tokens[1:]), limit, per_message)
        return [worker_pb2.TokenCount(**vars(counted))]

    return count


async def nobody(texts: Sequence[str]) -> Counts:
    raise NoWorker("no worker answered")


def said(asked: chat_pb2.ChatRequest) -> list[str]:
    """The contents after the edge's own system prompt."""
    assert asked.messages[0].role == SYSTEM
    return [message.content for message in asked.messages[1:]]


@pytest.mark.parametrize("mode", [SFW, NSFW])
@pytest.mark.parametrize("name", ["conversation", "writing"])
async def test_a_conversation_begins_with_the_prompt_of_its_context_and_mode(
    name: str, mode: edge_pb2.ContentMode
) -> None:
    done = await conversation(request("Hi."), name, mode, counting(1000))
    prompt = done.request.messages[0]
    context = contexts().contexts[name]
    assert (prompt.role, prompt.content) == (SYSTEM, context.sfw if mode == SFW else context.nsfw)
    assert ("safe for work" in prompt.content) == (mode == SFW)
    assert done.request.sfw_mode == (mode == SFW)
    assert f"context {name} in content mode {'sfw' if mode == SFW else 'nsfw'}" in done.decisions[0].why


async def test_without_a_name_it_is_a_conversation_and_without_a_mode_safe_for_work() -> None:
    done = await conversation(request("Hi."), "", edge_pb2.CONTENT_MODE_UNSPECIFIED, counting(1000))
    assert done.request.messages[0].content == contexts().contexts["conversation"].sfw
    assert done.request.sfw_mode


async def test_an_unknown_context_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidRequest, match="context: must be one of conversation, writing, prompts, got 'party'"):
        await conversation(request("Hi."), "party", SFW, counting(1000))


@pytest.mark.parametrize(
    ("sfw_mode", "name", "mode", "holds"),
    [
        (False, "conversation", NSFW, NSFW),
        (True, "conversation", NSFW, SFW),
        (False, "conversation", SFW, SFW),
        (False, "prompts", NSFW, SFW),
        (False, "", edge_pb2.CONTENT_MODE_UNSPECIFIED, SFW),
    ],
)
async def test_the_strictest_mode_holds(
    sfw_mode: bool, name: str, mode: edge_pb2.ContentMode, holds: edge_pb2.ContentMode
) -> None:
    asked = request("Hi.", sfw_mode=sfw_mode)
    assert mode_of(asked, name, mode) == holds
    done = await conversation(asked, name, mode, counting(1000))
    assert done.request.sfw_mode == (holds == SFW)
    prompt = contexts().context(name)
    assert done.request.messages[0].content == (prompt.sfw if holds == SFW else prompt.nsfw)
    changed = [decision for decision in done.decisions if decision.field == "sfw_mode"]
    assert bool(changed) == (not sfw_mode and holds == SFW)


async def test_messages_stay_as_they_are_and_the_callers_own_system_message_comes_after_the_edges() -> None:
    asked = request(AWKWARD, AWKWARD * 2, "Go on.", first=["Be a pirate."])
    before = asked.SerializeToString(deterministic=True)
    done = await conversation(asked, "", NSFW, counting(1000))
    assert list(done.request.messages[1:]) == list(asked.messages)
    assert asked.SerializeToString(deterministic=True) == before, "the request itself was changed"
    done.request.ClearField("messages")
    asked.ClearField("messages")
    asked.sfw_mode = False
    assert done.request == asked


TURNS = ["one two", "three four", "five six", "seven eight", AWKWARD]
WORDS = len(AWKWARD.split())


@pytest.mark.parametrize(
    ("room", "left"),
    [(8 + WORDS, TURNS), (7 + WORDS, TURNS[2:]), (4 + WORDS, TURNS[2:]), (3 + WORDS, TURNS[4:]), (WORDS, TURNS[4:])],
)
async def test_the_oldest_turns_go_first_an_answer_with_its_question_and_the_newest_message_stays(
    room: int, left: list[str]
) -> None:
    done = await conversation(request(*TURNS), "", NSFW, counting(100 + room))
    assert said(done.request) == left
    gone = [decision for decision in done.decisions if "left out" in decision.why]
    assert bool(gone) == (left != TURNS)
    assert [decision for decision in done.decisions if decision.notable] == gone
    for decision in gone:
        assert (decision.field, getattr(decision, "from"), decision.to) == ("messages", "5", str(len(left)))
        assert decision.why == (
            f"the oldest {5 - len(left)} of 5 turns were left out: a conversation has at most {room} tokens"
            f" ({100 + room} of context less max_tokens 100), got {8 + WORDS}"
        )


async def test_system_messages_are_never_left_out_wherever_they_stand() -> None:
    asked = request("old question", "old answer", "new question", first=["Be a pirate."])
    asked.messages.insert(2, chat_pb2.ChatMessage(role=SYSTEM, content="Rhyme now."))
    done = await conversation(asked, "", NSFW, counting(100 + 7 + 2, system=2))
    assert said(done.request) == ["Be a pirate.", "Rhyme now.", "new question"]


@pytest.mark.parametrize("room", [WORDS - 1, 0, -50])
async def test_a_newest_message_that_does_not_fit_is_refused_with_the_bound_and_the_value(room: int) -> None:
    with pytest.raises(InputTooLong) as refused:
        await conversation(request("x", "y", AWKWARD), "", NSFW, counting(100 + room))
    assert str(refused.value) == (
        f"messages: the system messages and the newest one must have at most {max(0, room)} tokens"
        f" ({100 + room} of context less max_tokens 100), got {WORDS}"
    )


async def test_what_the_template_adds_counts_too_once_for_the_answer() -> None:
    asked = request("a", "b", "c")
    assert said((await conversation(asked, "", NSFW, counting(100 + 3 + 5 * 5, per_message=5))).request) == [
        "a",
        "b",
        "c",
    ]
    assert said((await conversation(asked, "", NSFW, counting(100 + 2 + 5 * 5, per_message=5))).request) == ["c"]


async def test_a_greeting_that_nobody_asked_for_stays_while_there_is_room() -> None:
    done = await conversation(request("Welcome!", "Hi."), "", NSFW, counting(1000))
    assert said(done.request) == ["Welcome!", "Hi."]


async def test_as_many_messages_as_a_worker_takes_and_the_edges_own_do_not_go_over_its_bound() -> None:
    done = await conversation(request(*(str(n) for n in range(256))), "", NSFW, counting(100_000))
    check(chat_pb2.GenerateRequest(job_id="chat_turn_1_abcdef", user_id="ann", request=done.request))
    assert said(done.request) == [str(n) for n in range(1, 256)]
    assert any("at most 256 messages, got 257" in decision.why for decision in done.decisions)


async def test_as_many_characters_as_a_worker_takes_and_the_edges_own_do_not_go_over_its_bound() -> None:
    contents = ["x" * 32768] * 8
    assert sum(map(len, contents)) == MAX_CHARACTERS
    done = await conversation(request(*contents), "", NSFW, nobody)
    check(chat_pb2.GenerateRequest(job_id="chat_turn_1_abcdef", user_id="ann", request=done.request))
    assert len(said(done.request)) == 7


async def test_if_nobody_counts_the_conversation_goes_on_and_says_so() -> None:
    done = await conversation(request(*TURNS), "", NSFW, nobody)
    assert said(done.request) == TURNS
    assert [decision.why for decision in done.decisions if decision.field == "messages"][1] == NOT_COUNTED


async def test_the_decisions_hold_no_content() -> None:
    done = await conversation(request("sentinel", "sentinel", "sentinel"), "", SFW, counting(101))
    assert "sentinel" not in str(done.decisions)


async def test_a_worker_of_the_fleet_counts(pair: Pair) -> None:
    asked = request("old " * 1000, "old " * 1000, "new")
    done = await conversation(asked, "", NSFW, counter(pair.fleet, "chat", "qwen_instruct"))
    assert said(done.request) == ["new"]


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    folder: Path = ensure(["chat"])["chat"]
    return Prompts(AutoTokenizer.from_pretrained(folder), 2048)


@pytest.mark.parametrize("length", [1, 7, 100, 1300])
async def test_what_is_kept_is_what_the_model_itself_takes(prompts: Prompts, length: int) -> None:
    async def count(texts: Sequence[str]) -> Counts:
        counted = TokenCount("chat", prompts.lengths(texts), 2048, prompts.added_by_template)
        return [worker_pb2.TokenCount(**vars(counted))]

    asked = request(*[f"{n} {AWKWARD}" * (length if n > 90 else 1) for n in range(101)][-99:-1], "word " * length)
    done = await conversation(asked, "", NSFW, count)
    pairs = [(enum_word("ChatRole", chat_pb2.ChatRole.Name(m.role)), m.content) for m in done.request.messages]
    prompts.chat(pairs, 100)  # raises InputTooLong
    left = said(done.request)
    assert left == [message.content for message in asked.messages][-len(left) :]
    if len(left) < len(asked.messages):
        more = list(asked.messages)[-len(left) - 4 :]
        pairs = [pairs[0], *((enum_word("ChatRole", chat_pb2.ChatRole.Name(m.role)), m.content) for m in more)]
        with pytest.raises(InputTooLong):
            prompts.chat(pairs, 100 - 2 * len(pairs))


def context(**changes: Any) -> dict[str, Any]:
    return {"description": "Talk.", "sfw": "Be kind.", **changes}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"writing": context()}, "must have one of the name conversation"),
        ({"conversation": context(sfw="")}, "at least 1 character"),
        ({"conversation": {"description": "Talk.", "nsfw": "Talk."}}, "Field required"),
        ({"conversation": context(nsfw="Be kind.")}, "must not be that of the other"),
        ({"conversation": context(description="")}, "at least 1 character"),
        ({"conversation": context(sfw="x" * 32769)}, "at most 32768 characters"),
        ({"conversation": context(any="x")}, "Extra inputs"),
    ],
)
def test_a_mistake_in_the_contexts_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Contexts.model_validate({**data("contexts"), "contexts": table})
