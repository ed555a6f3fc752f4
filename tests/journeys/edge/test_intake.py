"""What the edge decides before a job is stored: content, modes, words, a better prompt, and what is told of it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from psycopg.rows import dict_row

from atelier.contracts.json_form import from_spec_dict
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.moderation.minors import digest
from edge_service.policies.registry import load
from edge_service.policy import current
from edge_service.policy.folder import BUILT_IN
from edge_service.policy.snapshot import in_force, use
from shared.server import Server
from tests.kit.bad_input import reason
from tests.kit.edge import BOB, Calls, StartEdge
from tests.kit.logs import everything_logged
from tests.kit.steered import SteeredEngine, connected, says, turn, until

FOX = {"type": "sdxl_image_fast", "prompt": "a red fox"}
# One of a minor and one that is sexual, as mild as can be: together they are refused in every mode.
FORBIDDEN = ("a teen girl", "nude")


async def rows(url: str, query: str) -> list[dict[str, Any]]:
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        return await (await connection.execute(query.encode())).fetchall()


async def collected(answers: AsyncIterable[edge_pb2.ChatResponse]) -> list[edge_pb2.ChatResponse]:
    return [answer async for answer in answers]


@contextlib.contextmanager
def refused(word: str) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield caught
    assert reason(caught.value) == word


@contextlib.contextmanager
def policies(folder: Path, file: str, old: str, new: str) -> Iterator[None]:
    """Other policies for the length of the block: those that Atelier brings, with one text replaced in one file."""
    shipped = (BUILT_IN / f"{file}.yaml").read_text()
    assert old in shipped
    (folder / f"{file}.yaml").write_text(shipped.replace(old, new))
    before = in_force()
    use(load(str(folder)))
    try:
        yield
    finally:
        use(before)


def why(job: edge_pb2.Job, field: str) -> list[str]:
    return [each.why for each in job.decisions if each.field == field]


async def test_what_is_forbidden_is_refused_in_every_mode_stored_nowhere_and_logged_by_hash(
    ann: Calls, database_url: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    for mode in ("sfw", "nsfw"):
        with refused("CONTENT_FORBIDDEN") as caught:
            await ann.submit(sdxl=FOX | {"prompt": ", ".join(FORBIDDEN)}, content_mode=mode)
        assert "teen" not in str(caught.value.details())
    assert await rows(database_url, "SELECT id FROM jobs") == []
    audited = await rows(database_url, "SELECT * FROM audit WHERE action = 'request.refused'")
    assert [(row["actor"], row["subject"], row["reason"]) for row in audited] == [
        ("ann", "sdxl_image_fast", "CONTENT_FORBIDDEN")
    ] * 2
    [secret] = await rows(database_url, "SELECT value FROM secrets WHERE name = 'audit'")
    expected = digest({"prompt": ", ".join(FORBIDDEN)}, bytes(secret["value"]))
    assert [row["digest"] for row in audited] == [expected] * 2
    assert "teen" not in everything_logged(caplog)


async def test_keys_and_policies_leave_a_line_in_the_audit_log(ann: Calls, database_url: str):
    made = await ann.account.CreateKey(edge_pb2.CreateKeyRequest(name="nightly"), metadata=ann.metadata)
    await ann.account.RevokeKey(edge_pb2.RevokeKeyRequest(key_id=made.key.id), metadata=ann.metadata)
    audited = await rows(database_url, "SELECT actor, action, subject FROM audit ORDER BY id")
    assert [tuple(row.values()) for row in audited] == [
        ("", "policy.in_force", current().version), ("ann", "key.created", made.key.id),
        ("ann", "key.revoked", made.key.id),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "job",
    [
        {"sdxl": FOX | {"prompt": FORBIDDEN[0], "compel_weights": f"({FORBIDDEN[1]}:1.3)", "compel_enabled": True}},
        {"wan": {"type": "video_fast", "prompt": ", ".join(FORBIDDEN)}},
        {
            "chat": {
                "messages": [{"role": "system", "content": FORBIDDEN[0]}, {"role": "user", "content": FORBIDDEN[1]}]
            }
        },
        {"sdxl": FOX | {"prompt": FORBIDDEN[1], "config": {"negative_prompt": "adult, mature"}}},
    ],
)
async def test_it_is_found_wherever_it_stands(ann: Calls, job: dict[str, Any]):
    with refused("CONTENT_FORBIDDEN"):
        await ann.submit(**job, content_mode="nsfw")


async def test_a_turn_is_judged_as_a_job_is(ann: Calls, engine: SteeredEngine):
    with refused("CONTENT_FORBIDDEN"):
        async for _ in ann.chat.Chat(turn(", ".join(FORBIDDEN)), metadata=ann.metadata):
            pass
    assert engine.requests == []


async def test_explicit_content_needs_the_mode_and_the_mode_needs_the_tier(ann: Calls):
    explicit = FOX | {"prompt": "a nude woman, oil painting"}
    with refused("CONTENT_NOT_ALLOWED"):
        await ann.submit(sdxl=explicit)  # who names no mode asks for nothing explicit
    with refused("CONTENT_NOT_ALLOWED"):
        await ann.submit(sdxl=explicit | {"prompt": "a nude woman, consent, adult, safe"})  # no word makes it safe
    job = await ann.submit(sdxl=explicit, content_mode="nsfw")
    assert job.content_mode == edge_pb2.CONTENT_MODE_NSFW


async def test_a_strict_request_of_an_account_that_may_more_is_strict(ann: Calls):
    job = await ann.submit(sdxl=FOX, content_mode="sfw")
    assert job.content_mode == edge_pb2.CONTENT_MODE_SFW
    with refused("CONTENT_NOT_ALLOWED"):
        await ann.submit(chat=says("write about a nude woman") | {"sfw_mode": True}, content_mode="nsfw")


async def test_an_account_shows_no_mode_that_the_policy_gives_nobody(ann: Calls, tmp_path: Path):
    with policies(tmp_path, "content", "most_explicit: nsfw", "most_explicit: sfw"):
        account = await ann.account.GetAccount(edge_pb2.GetAccountRequest(), metadata=ann.metadata)
        catalog = await ann.catalog.GetCatalog(edge_pb2.GetCatalogRequest(), metadata=ann.metadata)
        job = await ann.submit(sdxl=FOX, content_mode="nsfw")
    assert account.content_mode == job.content_mode == edge_pb2.CONTENT_MODE_SFW
    lowered = [each.why for each in job.decisions if each.notable]
    assert lowered == ["nsfw was asked for, and sfw is the strictest of request, account and policy"]
    assert list(catalog.content_modes) == [edge_pb2.CONTENT_MODE_SFW]


async def test_the_decision_names_the_mode_that_holds_in_a_conversation(ann: Calls):
    job = await ann.submit(chat=says("hello") | {"sfw_mode": True}, content_mode="nsfw")
    first = next(each for each in job.decisions if each.field == "content_mode")
    assert (getattr(first, "from"), first.to, first.notable) == ("nsfw", "sfw", True)
    assert job.content_mode == edge_pb2.CONTENT_MODE_SFW


async def test_a_job_tells_how_it_came_to_be(ann: Calls):
    job = await ann.submit(sdxl=FOX, style="photo", aspect_ratio="16:9")
    assert [each for each in job.decisions if each.notable] == []
    assert job.original_prompt == "a red fox"
    assert job.sdxl.prompt == "a photograph of a red fox, natural light, 35mm"
    assert job.sdxl.config.resolution == "1344x768"
    assert why(job, "config.resolution") == ["aspect ratio 16:9"]
    assert any("passes the rules of sfw" in said for said in why(job, "content_mode"))
    catalog = await ann.catalog.GetCatalog(edge_pb2.GetCatalogRequest(), metadata=ann.metadata)
    assert job.policy_version == catalog.policy_version
    again = await ann.get(job.id)
    assert (again.original_prompt, list(again.decisions)) == (job.original_prompt, list(job.decisions))


async def test_every_choice_of_a_request_has_its_reason(ann: Calls):
    job = await ann.submit(sdxl=FOX)
    assert why(job, "deadline") == ["default of every job"]
    assert why(job, "priority") == ["that of tier premium"]
    assert why(job, "enhancement") == ["default of sdxl_image_fast"]
    job = await ann.submit(sdxl=FOX, deadline="90s", priority=1, enhancement="off")
    assert why(job, "deadline") == why(job, "enhancement") == ["request"]
    assert [each.to for each in job.decisions if each.field == "deadline"] == ["90 s"]
    assert why(job, "priority") == [f"that of tier premium, {job.priority - 1}, and +1 of the request"]
    wolf = await ann.submit(wan={"type": "video7b_fast_enhanced", "prompt": "a wolf"})
    assert why(wolf, "enhancement") == ["default of video7b_fast_enhanced"]
    assert [each.to for each in wolf.decisions if each.field == "enhancement"] == ["on"]


async def test_a_repeat_is_as_it_was_planned_and_costs_what_it_costs_now(ann: Calls, database_url: str, tmp_path: Path):
    ended = await ann.cancel((await ann.submit(sdxl=FOX)).id)
    with policies(
        tmp_path, "job_types", "credits: 1\n    values: &sdxl_values", "credits: 3\n    values: &sdxl_values"
    ):
        now = current().version
        once = (await ann.jobs.RetryJob(edge_pb2.RetryJobRequest(job_id=ended.id), metadata=ann.metadata)).job
        await ann.cancel(once.id)
        twice = (await ann.jobs.RetryJob(edge_pb2.RetryJobRequest(job_id=once.id), metadata=ann.metadata)).job
    assert once.policy_version == ended.policy_version != now
    said = [(each.to, each.why) for each in twice.decisions if each.field == "retry_of"]
    assert said == [(once.id, f"as it was planned; allowed, moderated and priced by policies {now}")]
    assert len(why(twice, "priority")) == 1
    stored = await rows(database_url, "SELECT credits FROM jobs ORDER BY created")
    assert [row["credits"] for row in stored] == [1, 3, 3]


async def test_a_better_prompt_comes_from_the_chat_worker_and_the_job_says_so(ann: Calls, engine: SteeredEngine):
    engine.answer = "A red fox trots through deep snow at dawn, soft light, wide shot"
    job = await ann.submit(sdxl=FOX, enhancement="on")
    assert (job.sdxl.prompt, job.original_prompt) == (engine.answer, "a red fox")
    assert job.sdxl.enhancement_source == job_pb2.ENHANCEMENT_SOURCE_QWEN_INSTRUCT
    assert "improved the prompt" in why(job, "enhancement_source")[0]


@pytest.mark.parametrize("answer", ["", "I'm sorry, I cannot help with that.", ", ".join(FORBIDDEN), "a nude woman"])
async def test_a_bad_answer_leaves_the_prompt_as_it_was_sent(ann: Calls, engine: SteeredEngine, answer: str):
    engine.answer = answer
    job = await ann.submit(sdxl=FOX, enhancement="on")
    assert job.sdxl.prompt == "a red fox"
    assert job.sdxl.enhancement_source == job_pb2.ENHANCEMENT_SOURCE_NONE
    assert "enhancement failed" in why(job, "enhancement_source")[0]


@pytest.mark.parametrize(
    ("rest", "answer", "reason"),
    [
        ({"compel_enabled": True}, "a (red fox in deep snow", "invalid_request"),
        ({"compel_weights": "(a celebrity:1.2)"}, "a nude woman on a beach at dawn, soft light", "content_not_allowed"),
        ({"config": {"negative_prompt": "adult"}}, "a nude woman on a beach at dawn, soft light", "content_forbidden"),
    ],
)
async def test_an_answer_that_the_rest_of_the_job_makes_a_bad_one_leaves_the_prompt_as_it_was_sent(
    ann: Calls, engine: SteeredEngine, rest: dict[str, Any], answer: str, reason: str
):
    engine.answer = answer
    job = await ann.submit(sdxl=FOX | rest, enhancement="on", content_mode="nsfw")
    assert (job.sdxl.prompt, job.sdxl.enhancement_source) == ("a red fox", job_pb2.ENHANCEMENT_SOURCE_NONE)
    assert f"the answer was refused by the rules ({reason})" in why(job, "enhancement_source")[0]
    job = await ann.submit(sdxl=FOX, enhancement="on", content_mode="nsfw")
    assert (job.sdxl.prompt, job.sdxl.enhancement_source) == (answer, job_pb2.ENHANCEMENT_SOURCE_QWEN_INSTRUCT)


async def test_an_answer_that_the_classifier_refuses_leaves_the_prompt_as_it_was_sent(
    ann: Calls, engine: SteeredEngine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def classified(texts: Mapping[str, str]) -> str:
        return "sfw" if texts["prompt"] == FOX["prompt"] else "nsfw"

    monkeypatch.setattr("edge_service.moderation.moderator.by_chat", lambda chat, owner: classified)
    engine.answer = "A red fox trots through deep snow at dawn, soft light, wide shot"
    classification = "classification: {modes: [sfw], prompt: sfw?, passes: [sfw]}\nrules:"
    with policies(tmp_path, "content", "\nrules:", f"\n{classification}"):
        job = await ann.submit(sdxl=FOX, enhancement="on")
    assert job.sdxl.prompt == "a red fox"
    assert "the answer was refused by the rules (content_not_allowed)" in why(job, "enhancement_source")[0]
    assert any("classified as sfw" in said for said in why(job, "content_mode"))
    audited = await rows(database_url, "SELECT actor, action, reason FROM audit WHERE action LIKE '%.refused'")
    assert [tuple(row.values()) for row in audited] == [("ann", "enhancement.refused", "CONTENT_NOT_ALLOWED")]


async def test_an_enhanced_type_enhances_by_itself_and_may_be_told_not_to(ann: Calls, engine: SteeredEngine):
    engine.answer = "A grey wolf under a winter moon, slow pan\n"
    wolf = {"type": "video7b_fast_enhanced", "prompt": "a wolf"}
    job = await ann.submit(wan=wolf)
    assert job.wan.prompt == engine.answer.strip()
    assert job.wan.enhancement_source == job_pb2.ENHANCEMENT_SOURCE_QWEN_BASE
    asked = len(engine.requests)
    assert (await ann.submit(wan=wolf, enhancement="off")).wan.prompt == "a wolf"
    assert len(engine.requests) == asked


async def test_the_same_key_asks_the_model_once(ann: Calls, engine: SteeredEngine):
    engine.answer = "A red fox trots through deep snow at dawn, soft light"
    first = await ann.submit(sdxl=FOX, enhancement="on", idempotency_key="k")
    again = await ann.submit(sdxl=FOX, enhancement="on", idempotency_key="k")
    assert first.id == again.id
    assert len(engine.requests) == 1


async def test_a_forbidden_prompt_reaches_no_model_for_improvement(ann: Calls, engine: SteeredEngine):
    with refused("CONTENT_FORBIDDEN"):
        await ann.submit(sdxl=FOX | {"prompt": ", ".join(FORBIDDEN)}, enhancement="on", content_mode="nsfw")
    assert engine.requests == []


async def test_no_model_is_asked_for_a_job_that_a_quota_would_refuse(
    ann: Calls, engine: SteeredEngine, database_url: str
):
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("INSERT INTO storage VALUES ('ann', 1000000000000)")
    with refused("QUOTA_EXCEEDED"):
        await ann.submit(sdxl=FOX, enhancement="on")
    assert engine.requests == []


LONG = "extraordinarily " * 150
NO_REQUEST_LEFT = """
    INSERT INTO usage (owner, day, minute, requests, jobs, credits)
    VALUES ('ann', (now() AT TIME ZONE 'UTC')::date, now() + interval '1 hour', 1000000, 0, 0)
    ON CONFLICT (owner, day) DO UPDATE SET minute = excluded.minute, requests = excluded.requests"""


async def test_no_long_text_is_read_for_a_request_that_a_quota_would_refuse(
    ann: Calls, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    ended = await ann.ended((await ann.submit(chat=says(LONG), idempotency_key="k")).id)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(NO_REQUEST_LEFT)
    read: list[object] = []
    monkeypatch.setattr("edge_service.moderation.minors._forbidden", lambda texts: read.append(texts) or [])
    with refused("QUOTA_EXCEEDED"):
        await ann.submit(chat=says(LONG))
    with refused("QUOTA_EXCEEDED"):
        async for _ in ann.chat.Chat(turn(LONG), metadata=ann.metadata):
            pass
    with refused("QUOTA_EXCEEDED"):
        await ann.jobs.RetryJob(edge_pb2.RetryJobRequest(job_id=ended.id), metadata=ann.metadata)
    assert (await ann.submit(chat=says(LONG), idempotency_key="k")).id == ended.id
    assert read == []


async def test_long_texts_are_read_one_at_a_time(ann: Calls, monkeypatch: pytest.MonkeyPatch):
    at_once, most = 0, 0

    def slow(texts: Mapping[str, str]) -> list[str]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.02)
        at_once -= 1
        return []

    monkeypatch.setattr("edge_service.moderation.minors._forbidden", slow)
    await asyncio.gather(*(ann.submit(chat=says(LONG)) for _ in range(5)))
    assert most == 1


async def test_a_turn_that_finds_no_slot_is_a_request_too(ann: Calls, engine: SteeredEngine, database_url: str):
    waiting = asyncio.create_task(collected(ann.chat.Chat(turn("wait"), metadata=ann.metadata)))
    await until(lambda: engine.running)
    with refused("NO_WORKER"):
        await collected(ann.chat.Chat(turn("hello"), metadata=ann.metadata))
    engine.released.set()
    await waiting
    assert (await rows(database_url, "SELECT requests, jobs FROM usage")) == [{"requests": 2, "jobs": 1}]


async def test_what_a_repeated_job_says_is_judged_by_the_rules_of_today(ann: Calls, monkeypatch: pytest.MonkeyPatch):
    job = await ann.cancel((await ann.submit(sdxl=FOX)).id)
    monkeypatch.setattr("edge_service.moderation.minors._forbidden", lambda texts: ["prompt"])
    with refused("CONTENT_FORBIDDEN"):
        await ann.jobs.RetryJob(edge_pb2.RetryJobRequest(job_id=job.id), metadata=ann.metadata)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tiers", "enhancement, nsfw]", "enhancement]"),
        ("content", "most_explicit: nsfw", "most_explicit: sfw"),
    ],
)
async def test_a_job_is_not_repeated_in_a_mode_that_its_owner_may_have_no_more(
    ann: Calls, engine: SteeredEngine, tmp_path: Path, file: str, old: str, new: str
):
    explicit = turn("hello there")
    explicit.content_mode = edge_pb2.CONTENT_MODE_NSFW
    answers = [answer async for answer in ann.chat.Chat(explicit, metadata=ann.metadata)]
    job = await ann.ended((await ann.submit(chat=says("hello there"))).id)
    asked = len(engine.requests)
    with policies(tmp_path, file, old, new):
        with refused("PERMISSION_DENIED") as caught:
            await ann.jobs.RetryJob(edge_pb2.RetryJobRequest(job_id=answers[0].accepted.id), metadata=ann.metadata)
        assert "content_mode: the job was made as nsfw, and you may have sfw" in str(caught.value.details())
        assert len(engine.requests) == asked
        await ann.jobs.RetryJob(edge_pb2.RetryJobRequest(job_id=job.id), metadata=ann.metadata)


async def test_a_reference_that_no_model_can_use_is_refused_before_anything_is_fetched(ann: Calls):
    picture = {"metadata": {"reference_image_url": "http://127.0.0.1:1/a.png"}}
    with refused("INVALID_REQUEST"):  # judged though no image worker is connected
        await ann.submit(sdxl=FOX | picture)


async def test_a_control_that_a_chat_request_cannot_use_is_refused_by_name(ann: Calls):
    for field, value in (
        ("enhancement", "off"),
        ("reference_use", "modify"),
        ("aspect_ratio", "1:1"),
        ("style", "photo"),
    ):
        with refused("INVALID_REQUEST") as caught:
            await ann.submit(chat=says("hi"), **{field: value})
        assert field in str(caught.value.details())


async def test_the_catalogue_is_that_of_the_caller(ann: Calls):
    found = await ann.catalog.GetCatalog(edge_pb2.GetCatalogRequest(), metadata=ann.metadata)
    assert list(found.content_modes) == [edge_pb2.CONTENT_MODE_SFW, edge_pb2.CONTENT_MODE_NSFW]
    assert {entry.name for entry in found.job_types if entry.permitted} == {entry.name for entry in found.job_types}
    assert "conversation" in {entry.name for entry in found.chat_contexts}


@pytest.fixture
async def bob(start_edge: StartEdge, worker: Server) -> AsyncIterator[Calls]:
    async with contextlib.AsyncExitStack() as stack:
        yield await connected(await start_edge([worker.address]), BOB, stack)


async def test_a_context_begins_the_conversation(bob: Calls, engine: SteeredEngine):
    request = from_spec_dict(edge_pb2.ChatRequest, {"request": says("a limerick"), "context": "writing"})
    async for _ in bob.chat.Chat(request, metadata=bob.metadata):
        pass
    [begins, asked] = engine.requests[0].messages  # and nothing that anybody else has said
    assert begins.content.startswith("You are a writer.")
    assert (asked.role, asked.content) == ("user", "a limerick")
    request.context = "nonsense"
    with refused("INVALID_REQUEST") as caught:
        async for _ in bob.chat.Chat(request, metadata=bob.metadata):
            pass
    assert "context: must be one of conversation" in str(caught.value.details())


async def test_an_account_says_who_is_calling_and_what_they_may(bob: Calls):
    account = await bob.account.GetAccount(edge_pb2.GetAccountRequest(), metadata=bob.metadata)
    assert (account.user_id, account.tier) == ("bob", "premium")
    assert {"job.sdxl_image_high", "nsfw", "chat"} <= set(account.permissions)
    assert not {"fleet", "keys"} & set(account.permissions)
