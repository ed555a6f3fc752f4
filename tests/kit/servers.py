"""Real servers of services, on free ports."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import pytest

from shared.config import ServiceConfig
from shared.server import Server, Service

Serve = Callable[..., Awaitable[grpc.aio.Channel]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Starts services on free ports and stops them after the test: `channel = await serve(service, config)`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(service: Service, config: ServiceConfig | None = None) -> grpc.aio.Channel:
            server = Server(service, config or ServiceConfig(assets=tmp_path.as_uri(), drain_seconds=5))
            stack.push_async_callback(server.stop)
            await server.start()
            return await stack.enter_async_context(grpc.aio.insecure_channel(server.address))

        yield start
