"""The engine answers like the bare library, but many at once, each by its own rules, and lets go when told."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

import pytest
import torch

from atelier.contracts.errors import InputTooLong
from chat_service.engine.engine import TransformersEngine
from chat_service.engine.interface import ChatTurn, Delta, TextRequest
from tests.kit.asking import STORY, ask, checkpoint, question


def reference(engine: TransformersEngine, request: TextRequest) -> str:
    """What the bare library answers, greedily."""
    bare = checkpoint(engine)
    prompt = torch.tensor([bare.read(request)])
    made = bare.model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=request.max_tokens,
        eos_token_id=sorted(bare.stop_tokens),
        pad_token_id=0,
    )
    text: str = bare.tokenizer.decode(made[0, prompt.shape[1] :], skip_special_tokens=True)
    return text


@pytest.mark.parametrize(
    "request_",
    [
        question(STORY),
        question("What is the capital of France?", "Paris.", "And of Italy?"),
        question("The sea was calm, and", model="qwen_base"),
        question("word " * 300, max_tokens=8),  # is read in two forward passes
    ],
    ids=["one turn", "three turns", "base", "long prompt"],
)
async def test_temperature_zero_is_the_greedy_answer_of_the_bare_library(
    engine: TransformersEngine, request_: TextRequest
) -> None:
    text, _ = await ask(engine, request_)
    assert text == reference(engine, request_)


@pytest.mark.parametrize(("temperature", "top_p"), [(2.0, 0.0), (1e-39, 1.0), (1e-300, 0.5), (2.0, 1e-300)])
async def test_no_randomness_and_hardly_any_are_both_greedy(
    engine: TransformersEngine, temperature: float, top_p: float
) -> None:
    greedy, _ = await ask(engine, question(max_tokens=8))
    text, _ = await ask(engine, question(max_tokens=8, temperature=temperature, top_p=top_p))
    assert text == greedy


async def test_a_greedy_answer_does_not_change_beside_hot_ones(engine: TransformersEngine) -> None:
    alone, _ = await ask(engine, question())
    hot = question(temperature=2.0)
    answers = await asyncio.gather(*(ask(engine, request) for request in (hot, question(), hot, question(), hot)))
    texts = [text for text, _ in answers]
    assert texts[1] == texts[3] == alone
    assert len({texts[0], texts[2], texts[4], alone}) == 4


async def test_more_requests_than_slots_are_all_answered(engine: TransformersEngine) -> None:
    answers = await asyncio.gather(*(ask(engine, question(max_tokens=3)) for _ in range(12)))
    assert len({text for text, _ in answers}) == 1
    assert {end.tokens_generated for _, end in answers} == {3}


async def test_text_comes_out_while_it_is_made(engine: TransformersEngine) -> None:
    arrivals = [(time.monotonic(), event) async for event in engine.generate(question())]
    tokens = [event.tokens for _, event in arrivals if isinstance(event, Delta)]
    assert len(tokens) > 12
    assert tokens == sorted(set(tokens))
    first, last = arrivals[0][0], arrivals[-1][0]
    assert last - first > 0.1, "24 tokens arrived together"


async def test_the_end_says_why_and_how_much(engine: TransformersEngine) -> None:
    text, end = await ask(engine, question("What is the capital of France?", max_tokens=100))
    assert text == "The capital of France is Paris."
    assert (end.reason, end.tokens_generated) == ("stop", 7)
    cut, end = await ask(engine, question(max_tokens=5))
    assert (end.reason, end.tokens_generated) == ("length", 5)
    assert (await ask(engine, question(max_tokens=8)))[0].startswith(cut)
    assert end.prompt_tokens == len(checkpoint(engine).read(question()))
    assert end.seconds_to_first_token > 0
    assert end.seconds_generating > 0


async def test_system_message_and_history_change_the_answer(engine: TransformersEngine) -> None:
    plain, _ = await ask(engine, question("Who are you?"))
    turns = (ChatTurn("system", "You are a pirate. Speak like one."), ChatTurn("user", "Who are you?"))
    pirate, _ = await ask(engine, TextRequest("chat_turn_1_abcdef", turns, 24, 0.0, 1.0, "qwen_instruct"))
    assert pirate != plain


async def test_input_that_is_too_long_is_refused_and_the_engine_goes_on(engine: TransformersEngine) -> None:
    with pytest.raises(InputTooLong, match=r"request\.messages: at most 1948 tokens"):
        await ask(engine, question("word " * 3000, max_tokens=100))
    assert (await ask(engine, question(max_tokens=2)))[1].tokens_generated == 2


async def wait_until_idle(engine: TransformersEngine, seconds: float = 10) -> None:
    """Fails unless every request leaves the batch."""
    processor = checkpoint(engine).batch.manager.batch_processor  # type: ignore[union-attr]
    assert processor
    async with asyncio.timeout(seconds):
        while processor.has_pending_requests():
            await asyncio.sleep(0.01)


async def leave_after_first_piece(engine: TransformersEngine) -> None:
    async with contextlib.aclosing(engine.generate(question(max_tokens=1000))) as events:
        await anext(events)


async def test_a_closed_answer_leaves_the_batch(engine: TransformersEngine) -> None:
    await asyncio.gather(*(leave_after_first_piece(engine) for _ in range(8)))
    await wait_until_idle(engine)


async def cancelled_after(engine: TransformersEngine, delays: Sequence[float]) -> None:
    """Starts long answers and cancels each after its delay in seconds."""
    tasks = [asyncio.create_task(ask(engine, question(max_tokens=1000))) for _ in delays]
    for task, delay in zip(tasks, delays, strict=True):
        await asyncio.sleep(delay)
        task.cancel()
    assert all(isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*tasks, return_exceptions=True))


async def test_cancelling_at_any_moment_frees_the_slot_and_keeps_nothing(engine: TransformersEngine) -> None:
    await cancelled_after(engine, [0, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0, 0, 0.1, 0])
    await wait_until_idle(engine)
    outputs = checkpoint(engine).batch.outputs
    assert (outputs.receivers, outputs.output_queue.qsize()) == ({}, 0)
    assert (await ask(engine, question(max_tokens=2)))[1].tokens_generated == 2


def test_the_model_goes_by_its_real_name(engine: TransformersEngine) -> None:
    assert [(m.name, m.real_name, m.context_tokens) for m in engine.models] == [
        ("qwen_instruct", "SmolLM2-135M-Instruct", 2048),
        ("qwen_base", "SmolLM2-135M-Instruct", 2048),
    ]
    assert (engine.device, engine.dtype, engine.memory()) == ("cpu", "float32", (0, 0))
    assert len(engine._checkpoints) == 1, "the weights were loaded twice"


async def test_tokens_are_counted_by_the_model_that_is_asked_while_it_answers(engine: TransformersEngine) -> None:
    texts = ["", "Say hello.", "<|im_end|>"]
    async with contextlib.aclosing(engine.generate(question(max_tokens=500))) as answer:
        await anext(answer)
        (instruct,) = await asyncio.to_thread(engine.count_tokens, "qwen_instruct", texts)
        (base,) = engine.count_tokens("qwen_base", texts)
    assert (instruct.tokenizer, instruct.limit, instruct.tokens_per_message) == ("chat", 2048, 6)
    assert instruct.tokens == base.tokens
    assert base.tokens_per_message == 1
    assert base.tokens[0] == 0
    assert base.tokens[2] > 1, "what a person writes is text, not a control token"
