"""Who of the chat workers is asked, how many at once, and what the fleet learns of it."""

import asyncio
import sys

import pytest

from atelier.contracts.errors import DeadlineExceeded, EngineFailed, NoFreeSlot, NoWorker, WorkerLost
from atelier.pb.chat.v1 import chat_pb2
from edge_service.fleet.chat_client import ChatWorkers
from edge_service.fleet.circuit_breaker import State
from edge_service.planning.enhancement_templates import Enhancement, enhancement
from tests.kit.fake_chat_engine import hangs, says_hello
from tests.kit.policy_tables import data
from tests.kit.steered import killed
from tests.kit.worker_pair import Pair, following
from tests.kit.workers import until


def limits() -> Enhancement:
    """The limits in force."""
    return enhancement()


def question(model: chat_pb2.ChatModel = chat_pb2.CHAT_MODEL_QWEN_INSTRUCT) -> chat_pb2.ChatRequest:
    message = chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, content="a fox")
    return chat_pb2.ChatRequest(
        messages=[message], max_tokens=200, temperature=0.3, top_p=0.9, model=model, sfw_mode=True
    )


def never(said: str) -> bool:
    return False


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the slots, which are four, and one that may wait."""
    changed = Enhancement.model_validate({**data("enhancement"), "share": 0.5, "waiting": 1})
    monkeypatch.setattr(sys.modules[__name__], "enhancement", lambda: changed)


async def test_an_answer_counts_for_the_worker_and_leaves_its_slot(pair: Pair) -> None:
    callback = await ChatWorkers(pair.fleet, limits).ask("ann", question(), never)
    assert callback.assets[0].content == "Hello 👩"
    assert [worker.in_flight for worker in pair.fleet.workers] == [0, 0]


async def test_no_more_than_the_share_is_asked_at_once_and_who_waits_comes_next(pair: Pair) -> None:
    pair.engine.act = hangs
    chat = ChatWorkers(pair.fleet, limits)
    asking = [asyncio.create_task(chat.ask("ann", question(), never)) for _ in range(3)]
    await until(lambda: pair.engine.running == 2)
    with pytest.raises(NoFreeSlot, match="1 prompts wait"):
        await chat.ask("ann", question(), never)
    assert pair.engine.running == 2, "half of the slots stay free for people"
    pair.engine.act = says_hello
    asking[0].cancel()
    assert (await asking[2]).assets
    asking[1].cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await until(lambda: pair.engine.running == 0)
    assert (await chat.ask("ann", question(), never)).assets


async def test_one_owner_does_not_fill_the_line_of_those_who_wait(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Enhancement.model_validate({**data("enhancement"), "share": 0.5, "waiting": 8})
    monkeypatch.setattr(sys.modules[__name__], "enhancement", lambda: table)
    pair.engine.act = hangs
    chat = ChatWorkers(pair.fleet, limits)
    asking = [asyncio.create_task(chat.ask("ann", question(), never)) for _ in range(4)]
    await until(lambda: pair.engine.running == 2)
    with pytest.raises(NoFreeSlot, match="2 prompts wait for a chat worker, 2 of them yours"):
        await chat.ask("ann", question(), never)
    waiting = asyncio.create_task(chat.ask("bob", question(), never))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    pair.engine.act = says_hello
    for task in asking:
        task.cancel()
    assert (await waiting).assets
    await asyncio.gather(*asking, return_exceptions=True)
    assert (await chat.ask("ann", question(), never)).assets


async def test_a_slot_that_people_have_taken_is_waited_for(pair: Pair) -> None:
    (worker,) = (worker for worker in pair.fleet.workers if worker.worker_type == "chat")
    chat = ChatWorkers(pair.fleet, limits)
    worker.in_flight += 4
    asking = asyncio.create_task(chat.ask("ann", question(), never))
    await asyncio.sleep(0)
    assert pair.engine.requests == []
    worker.in_flight -= 4
    pair.fleet.notify()
    assert (await asking).assets


async def test_nobody_waits_for_a_model_that_no_worker_has(pair: Pair) -> None:
    async with following() as empty:
        with pytest.raises(NoWorker, match="no chat worker with qwen_base is connected"):
            await ChatWorkers(empty, limits).ask("ann", question(chat_pb2.CHAT_MODEL_QWEN_BASE), never)


async def test_a_worker_that_dies_is_lost_and_ejected(pair: Pair) -> None:
    pair.engine.act = hangs
    (worker,) = (worker for worker in pair.fleet.workers if worker.worker_type == "chat")
    asking = asyncio.create_task(ChatWorkers(pair.fleet, limits).ask("ann", question(), never))
    await until(lambda: pair.engine.running)
    await killed(pair.chat)
    with pytest.raises((WorkerLost, EngineFailed)):
        await asking
    assert worker.breaker.state is State.EJECTED
    assert worker.in_flight == 0


async def test_a_model_that_hangs_is_asked_no_longer_than_the_policy_says(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Enhancement.model_validate({**data("enhancement"), "seconds": 0.1})
    monkeypatch.setattr(sys.modules[__name__], "enhancement", lambda: short)
    pair.engine.act = hangs
    async with asyncio.timeout(5):
        with pytest.raises(DeadlineExceeded):
            await ChatWorkers(pair.fleet, limits).ask("ann", question(), never)
        await pair.engine.idle.wait()
    assert [worker.in_flight for worker in pair.fleet.workers] == [0, 0]


async def test_a_model_that_has_said_enough_is_stopped(pair: Pair) -> None:
    pair.engine.act = hangs  # after its first word
    callback = await ChatWorkers(pair.fleet, limits).ask("ann", question(), lambda said: said == "Hel")
    assert callback.assets[0].content == "Hel"
    assert callback.job_id.startswith("chat_enhance_")
    assert (callback.worker_id, callback.assets[0].metadata.model_name) == ("chat_worker_001", "a-real-name")
    await until(lambda: pair.engine.running == 0)
