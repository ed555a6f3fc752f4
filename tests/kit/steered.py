"""A real chat worker with an engine one can steer, and clients of the edge before it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence

import grpc

from atelier.contracts.errors import Cancelled, EngineFailed
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.edge.v1 import edge_pb2
from chat_service.config import ChatConfig
from chat_service.engine.interface import Delta, Finished, TextRequest
from chat_service.servicer import chat_worker
from shared.server import Server
from shared.worker.engine import Model
from shared.worker.tokens import TokenCount
from tests.kit.counting import count_words
from tests.kit.edge import Calls
from tests.kit.fake_engine import FakeEngine


class SteeredEngine(FakeEngine):
    """Says the words of the last message, one a token; "wait" waits to be released, "fail" and "give-up" are errors.

    Where `answer` is set it says that, whatever it is asked."""

    def __init__(self) -> None:
        super().__init__(Model("", "steered", context_tokens=1000), self._say, count)
        self.released = asyncio.Event()
        self.answer: str | None = None

    async def _say(self, request: TextRequest) -> AsyncGenerator[Delta | Finished, None]:
        if self.answer is not None:
            yield Delta(self.answer, 1)
            yield Finished("stop", 1, 1, 0.1, 0.1)
            return
        words = request.messages[-1].content.split()
        for made, word in enumerate(words, 1):
            if word == "wait":
                await self.released.wait()
            if word == "fail":
                raise EngineFailed("the engine failed")
            if word == "give-up":
                raise Cancelled("no caller waits for it")
            yield Delta(f"{word} ", made)
        yield Finished("stop", len(words), 1, 0.1, 0.1)


def count(model: Model, texts: Sequence[str]) -> list[TokenCount]:
    return [count_words("chat", texts, limit=1000, tokens_per_message=5)]


async def started_worker(
    engine: SteeredEngine, listen: str = "127.0.0.1:0", slots: int = 1, **options: object
) -> Server:
    config = ChatConfig(model="none", listen=listen, slots=slots, waiting=0, drain_seconds=0, **options)
    server = Server(chat_worker(config, lambda _: engine), config)
    await server.start()
    return server


async def killed(server: Server) -> None:
    """Ends a worker as a crash would: its connections break in the middle of what they say."""
    await server._server.stop(None)
    await server.stop()


async def connected(server: Server, token: str, stack: contextlib.AsyncExitStack) -> Calls:
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
    calls = Calls(channel, token)
    request = edge_pb2.ListWorkersRequest()
    async with asyncio.timeout(10):
        while not any(
            w.HasField("status") for w in (await calls.fleet.ListWorkers(request, metadata=calls.operator)).workers
        ):
            await asyncio.sleep(0.02)
    return calls


def says(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


def turn(text: str) -> edge_pb2.ChatRequest:
    return edge_pb2.ChatRequest(request=from_spec_dict(type(edge_pb2.ChatRequest().request), says(text)))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
