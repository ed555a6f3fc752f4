"""Loading refuses what is broken in one line; a crash of generation is told to everybody and mended."""

import asyncio
import contextlib
import json
import queue
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from atelier.contracts.errors import EngineFailed, ModelUnusable
from shared.config import ModelConfig
from tests.kit.asking import ask, checkpoint, loaded, question

SECRET = "sentinel-8731"
LONG = question(max_tokens=1900)
SHORT = question(max_tokens=3)


def change_tensor(folder: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
    """Rewrites one tensor of a folder's weights, or drops it when `change` returns None."""
    tensors = load_file(folder / "model.safetensors")
    changed = change(tensors.pop(name))
    save_file(
        {**tensors, **({} if changed is None else {name: changed})}, folder / "model.safetensors", {"format": "pt"}
    )


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    drop_weights(folder)


def cut_weights(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def drop_one_tensor(folder: Path) -> None:
    change_tensor(folder, "model.layers.0.self_attn.q_proj.weight", lambda tensor: None)


def shrink_one_tensor(folder: Path) -> None:
    change_tensor(folder, "model.layers.0.self_attn.q_proj.weight", lambda tensor: tensor[:4].clone())


def poison_one_tensor(folder: Path) -> None:
    change_tensor(folder, "model.norm.weight", lambda tensor: tensor * float("nan"))


def garble_config(folder: Path) -> None:
    (folder / "config.json").write_text("{ this is no JSON")


def drop_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def drop_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def remove(folder: Path) -> None:
    empty(folder)
    folder.rmdir()


BREAKAGES: dict[Callable[[Path], None], str] = {
    remove: "no such folder",
    empty: "Unrecognized model",
    drop_weights: "no file named model.safetensors",
    pickle_weights: "no file named model.safetensors",
    cut_weights: "file not fully covered",
    drop_one_tensor: "weights are missing, such as model.layers.0.self_attn.q_proj.weight",
    shrink_one_tensor: "weights have the wrong size, such as model.layers.0.self_attn.q_proj.weight",
    poison_one_tensor: "cannot generate",
    garble_config: "is not a valid JSON file",
    drop_tokenizer: "has no usable tokenizer",
    drop_template: "no chat template",
}


@pytest.mark.parametrize("damage", BREAKAGES, ids=lambda damage: damage.__name__)
async def test_a_broken_model_is_refused_in_one_line(tiny_folder: Path, damage: Callable[[Path], None]) -> None:
    damage(tiny_folder)
    with pytest.raises(ModelUnusable) as refused:
        await loaded(tiny_folder)
    message = str(refused.value)
    assert message.startswith(f"{tiny_folder}: ")
    assert "\n" not in message
    assert BREAKAGES[damage] in message


async def test_code_that_comes_with_a_model_is_never_run(tiny_folder: Path) -> None:
    marker = tiny_folder / "was-run"
    (tiny_folder / "modeling_evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: ...\n")
    config = json.loads((tiny_folder / "config.json").read_text())
    evil = {"model_type": "evil", "auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}}
    (tiny_folder / "config.json").write_text(json.dumps(config | evil))
    with pytest.raises(ModelUnusable):
        await loaded(tiny_folder)
    assert not marker.exists()


async def test_a_device_that_is_not_there_is_refused(tiny_folder: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(ModelUnusable, match="ATELIER_DEVICE is cuda, but torch sees no CUDA device"):
        await loaded(tiny_folder, device="cuda")


async def test_a_model_without_template_can_be_the_base_model(tiny_folder: Path, tiny_weights: Path) -> None:
    drop_template(tiny_folder)
    renamed = shutil.move(tiny_folder, tiny_folder.parent / "continues-text")
    engine = await loaded(tiny_weights)
    await engine.load(ModelConfig("qwen_base", str(renamed)))
    await engine.close()
    assert {model.name: model.real_name for model in engine.models} == {
        "qwen_instruct": "tiny",
        "qwen_base": "continues-text",
    }


async def test_a_checkpoint_trained_from_another_is_not_taken_for_it(tiny_folder: Path) -> None:
    config = json.loads((tiny_folder / "config.json").read_text())
    (tiny_folder / "config.json").write_text(json.dumps(config | {"_name_or_path": "someone/parent-model"}))
    engine = await loaded(tiny_folder, "qwen_base")
    await engine.close()
    assert engine.models[0].real_name == "tiny"


class Started:
    """A tiny engine and what its listeners heard: True and False of `on_change`, "dead" of `on_death`."""

    def __init__(self) -> None:
        self.heard: queue.Queue[bool | str] = queue.Queue()

    async def start(self, folder: Path, slots: int) -> "Started":
        self.engine = await loaded(
            folder, slots=slots, on_change=self.heard.put, on_death=lambda: self.heard.put("dead")
        )
        self.model = checkpoint(self.engine).model
        return self

    async def hears(self) -> bool | str:
        return await asyncio.to_thread(self.heard.get, timeout=30)


@pytest.fixture
async def started(tiny_weights: Path) -> AsyncIterator[Started]:
    started = await Started().start(tiny_weights, slots=2)
    yield started
    await started.engine.close()


async def test_a_closed_answer_gives_its_slot_to_the_next(started: Started) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            events = await stack.enter_async_context(contextlib.aclosing(started.engine.generate(LONG)))
            await anext(events)
        waiting = asyncio.create_task(ask(started.engine, SHORT))
        await asyncio.sleep(0.2)
        assert not waiting.done(), "there are more slots than the engine was told"
    async with asyncio.timeout(5):
        await waiting


async def test_a_slot_taken_by_nobody_is_not_leaked_to_a_request_cancelled_while_waiting(started: Started) -> None:
    running = [asyncio.create_task(ask(started.engine, LONG)) for _ in range(2)]
    waiting = asyncio.create_task(ask(started.engine, LONG))
    await asyncio.sleep(0.2)
    for task in (waiting, *running):
        task.cancel()
    async with asyncio.timeout(5):
        await ask(started.engine, SHORT)


def crash(monkeypatch: pytest.MonkeyPatch, model: Any, times: int) -> None:
    """Makes the next forward passes fail."""
    forward, left = model.forward, iter(range(times))

    def failing(*args: Any, **kwargs: Any) -> Any:
        if next(left, None) is not None:
            raise RuntimeError(SECRET)
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", failing)


async def test_a_crash_is_told_to_all_in_flight_and_the_engine_starts_again(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = [asyncio.create_task(ask(started.engine, LONG)) for _ in range(4)]  # two of them wait for a slot
    await asyncio.sleep(0.2)
    crash(monkeypatch, started.model, times=1)
    async with asyncio.timeout(30):
        ends = await asyncio.gather(*running, return_exceptions=True)
    assert [type(end) for end in ends] == [EngineFailed] * 4
    assert not any(SECRET in str(end) for end in ends)
    assert [await started.hears(), await started.hears()] == [False, True]
    assert (await ask(started.engine, SHORT))[1].tokens_generated == 3


async def test_an_engine_that_cannot_start_again_is_dead_and_says_so(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash(monkeypatch, started.model, times=1000)
    with pytest.raises(EngineFailed):
        await ask(started.engine, SHORT)
    assert [await started.hears(), await started.hears()] == [False, "dead"]
    with pytest.raises(EngineFailed):
        await ask(started.engine, SHORT)


async def test_closing_fails_what_is_running_and_ends_the_threads(tiny_weights: Path) -> None:
    started = await Started().start(tiny_weights, slots=2)
    running = asyncio.create_task(ask(started.engine, LONG))
    await asyncio.sleep(0.1)
    await started.engine.close()
    async with asyncio.timeout(5):
        with pytest.raises(EngineFailed):
            await running
    assert started.heard.empty(), "closing was taken for a crash"
