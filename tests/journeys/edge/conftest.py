"""An edge, a database and a chat worker, all real but for the worker's engine."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from shared.server import Server
from tests.kit.edge import ANN, Calls, StartEdge
from tests.kit.steered import SteeredEngine, connected, started_worker


@pytest.fixture
def engine() -> SteeredEngine:
    return SteeredEngine()


@pytest.fixture
async def worker(engine: SteeredEngine) -> AsyncIterator[Server]:
    server = await started_worker(engine)
    yield server
    await server.stop()


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as opened:
        yield opened


@pytest.fixture
async def ann(start_edge: StartEdge, worker: Server, stack: contextlib.AsyncExitStack) -> Calls:
    return await connected(await start_edge([worker.address]), ANN, stack)
