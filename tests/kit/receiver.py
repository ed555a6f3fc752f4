"""Receivers of requests: real servers on the loopback network."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge_service.doors.http.server import HttpServer


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers with the next of the statuses, the last of them for ever."""

    address: str
    statuses: list[int] = field(default_factory=lambda: [200])
    headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing is answered while it is not set."""

    @property
    def url(self) -> str:
        return f"http://{self.address}/hook"

    async def take(self, request: Request) -> Response:
        body = await request.body()
        self.received.append(Received(str(request.url.path), dict(request.headers), body))
        await self.open.wait()
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Response("an answer that nobody reads", status, self.headers)


@contextlib.asynccontextmanager
async def receiving(listen: str = "127.0.0.1:0") -> AsyncIterator[Receiver]:
    """A receiver that is running."""
    server = HttpServer(listen)
    receiver = Receiver(server.address)
    receiver.open.set()
    server.start(Starlette(routes=[Route("/{path:path}", receiver.take, methods=["POST"])]))
    try:
        yield receiver
    finally:
        receiver.open.set()
        await server.close()


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
