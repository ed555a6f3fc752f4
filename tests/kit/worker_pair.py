"""A fleet of one chat and one image worker, real but for their engines."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_service.fleet import Fleet
from sdxl_service.config import SdxlConfig
from sdxl_service.servicer import sdxl_worker
from shared.server import Server
from tests.kit.fake_chat_engine import FakeEngine as FakeChatEngine
from tests.kit.fake_sdxl_engine import FakeEngine as FakeImageEngine
from tests.kit.workers import serving, until


@contextlib.asynccontextmanager
async def following(*addresses: str) -> AsyncIterator[Fleet]:
    """A fleet that has reached every worker."""
    fleet = Fleet(addresses)
    fleet.start()
    try:
        await until(lambda: len(fleet.connected()) == len(addresses))
        yield fleet
    finally:
        await fleet.close()


@contextlib.asynccontextmanager
async def drawing(folder: Path, engine: FakeImageEngine) -> AsyncIterator[Server]:
    """An image worker in this process."""
    config = SdxlConfig(model="fake", assets=folder.as_uri(), listen="127.0.0.1:0", drain_seconds=0)
    server = Server(sdxl_worker(config, lambda _: engine), config)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@dataclass
class Pair:
    """The fleet, the chat worker and its engine, whose script a test may change, and the engine of the image worker."""

    fleet: Fleet
    engine: FakeChatEngine
    chat: Server
    images: FakeImageEngine


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    engine, painter = FakeChatEngine(), FakeImageEngine()
    async with (
        serving(engine=engine, slots=4) as chat,
        drawing(tmp_path, painter) as images,
        following(chat.address, images.address) as fleet,
    ):
        yield Pair(fleet, engine, chat, painter)
