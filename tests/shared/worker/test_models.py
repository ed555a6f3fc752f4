"""Models are loaded and unloaded once, however many callers ask, and never while a job uses them."""

import asyncio
import threading
import time

import pytest

from atelier.contracts.errors import Draining, InvalidRequest, ModelUnusable
from shared.config import ModelConfig
from shared.worker.engine import Model, OnChange
from shared.worker.models import Models, State
from tests.kit.fake_engine import FakeEngine


class Slow(FakeEngine):
    """Takes a moment to load and to unload, and counts both. `broken` is the name that it cannot load."""

    def __init__(self, on_change: OnChange | None = None) -> None:
        async def nothing(request: object):  # type: ignore[no-untyped-def]
            yield request

        super().__init__(Model("", "fake"), nothing, lambda model, texts: [])
        self.calls: list[str] = []
        self.broken = ""

    async def load(self, config: ModelConfig) -> None:
        self.calls.append(f"load {config.name}")
        await asyncio.sleep(0.02)
        if config.name == self.broken:
            raise ModelUnusable(f"{config.source}: no such folder")
        await super().load(config)

    async def unload(self, name: str) -> None:
        self.calls.append(f"unload {name}")
        await asyncio.sleep(0.02)
        await super().unload(name)


@pytest.fixture
def engine() -> Slow:
    return Slow()


@pytest.fixture
def heard() -> list[list[str]]:
    """The loaded models at each change."""
    return []


@pytest.fixture
def models(engine: Slow, heard: list[list[str]]) -> Models[Slow]:
    def note() -> None:
        heard.append([model.name for model in models.loaded])

    models = Models([ModelConfig(name, f"/{name}") for name in "ab"], lambda on_change: engine, note)
    return models


async def start(models: Models[Slow]) -> None:
    await models.start(lambda works: None)


async def test_all_are_loaded_at_start_in_the_order_they_are_configured(
    models: Models[Slow], heard: list[list[str]]
) -> None:
    assert models.loaded == ()
    assert models.state("a") is State.ABSENT
    await start(models)
    assert [model.name for model in models.loaded] == ["a", "b"]
    assert heard == [["a"], ["a", "b"]]
    assert models.state("b") is State.READY


async def test_the_engine_is_made_in_a_thread_once() -> None:
    made: list[int] = []

    def make(on_change: OnChange) -> Slow:
        made.append(threading.get_ident())
        return Slow()

    models = Models([ModelConfig("a", "/a")], make)
    with pytest.raises(Draining):
        _ = models.engine
    await start(models)
    assert len(made) == 1
    assert made[0] != threading.get_ident()


async def test_loading_and_unloading_what_is_so_already_does_nothing(models: Models[Slow], engine: Slow) -> None:
    await start(models)
    await models.load("a")
    assert engine.calls == ["load a", "load b"]
    await models.unload("a")
    await models.unload("a")
    assert engine.calls[2:] == ["unload a"]
    assert [model.name for model in models.loaded] == ["b"]
    await asyncio.gather(*(models.load("a") for _ in range(5)))
    assert engine.calls[3:] == ["load a"]
    assert [model.name for model in models.loaded] == ["a", "b"]


async def test_a_model_is_unloaded_only_when_its_last_job_has_ended(models: Models[Slow], engine: Slow) -> None:
    await start(models)
    async with models.using("a"), models.using("a"):
        unloading = asyncio.create_task(models.unload("a"))
        await asyncio.sleep(0.05)
        assert models.state("a") is State.DRAINING
        assert "unload a" not in engine.calls
        assert [model.name for model in models.loaded] == ["b"]
        with pytest.raises(Draining, match="model a is draining"):
            async with models.using("a"):
                pass
        async with models.using("b"):
            pass
    await asyncio.wait_for(unloading, 5)
    assert models.state("a") is State.ABSENT


async def test_an_unloading_that_is_given_up_leaves_the_model_ready(models: Models[Slow], heard: list[object]) -> None:
    await start(models)
    async with models.using("a"):
        unloading = asyncio.create_task(models.unload("a"))
        await asyncio.sleep(0.01)
        unloading.cancel()
        await asyncio.wait({unloading})
        assert models.state("a") is State.READY
    assert heard[-1] == ["a", "b"]


async def test_a_model_that_cannot_be_loaded_says_why_and_can_be_tried_again(
    models: Models[Slow], engine: Slow
) -> None:
    engine.broken = "b"
    with pytest.raises(ModelUnusable, match="/b: no such folder"):
        await start(models)
    assert models.state("b") is State.FAILED
    assert [model.name for model in models.loaded] == ["a"]
    engine.broken = ""
    await models.load("b")
    assert models.state("b") is State.READY


async def test_a_name_that_is_not_configured_is_refused(models: Models[Slow]) -> None:
    await start(models)
    for call in (models.load, models.unload):
        with pytest.raises(InvalidRequest, match="name: must be one of a, b"):
            await call("c")


async def test_an_engine_that_is_made_while_nobody_waits_any_more_is_closed() -> None:
    engine = Slow()

    def make(on_change: OnChange) -> Slow:
        time.sleep(0.1)
        return engine

    models = Models([ModelConfig("a", "/a")], make)
    starting = asyncio.create_task(start(models))
    await asyncio.sleep(0.02)
    starting.cancel()
    await asyncio.wait({starting})
    await models.close()
    assert engine.closed
    assert engine.calls == []
