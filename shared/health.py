"""Health as grpc_health serves it, but for watches that end when the server does."""

import asyncio
from typing import Any

from grpc_health.v1 import health, health_pb2

# Time to tell watchers that the server stops.
LAST_WORD_SECONDS = 0.2


class Health(health.aio.HealthServicer):  # type: ignore[misc, name-defined]
    """Upstream's watches end only with their clients, and would hold every drain to its last second."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = asyncio.Event()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        watching = asyncio.ensure_future(super().Watch(request, context))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({watching, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            ended.cancel()

    async def enter_graceful_shutdown(self) -> None:
        """Tells every watcher NOT_SERVING, then ends the watches."""
        await super().enter_graceful_shutdown()
        asyncio.get_running_loop().call_later(LAST_WORD_SECONDS, self._ended.set)
