"""Questions that the edge itself has for the chat workers. People's own chats come first."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol, cast

import grpc

from atelier.contracts.errors import AtelierError, EngineFailed, NoFreeSlot, NoWorker, WorkerLost, from_rpc_error
from atelier.contracts.validation import enum_word
from atelier.pb.chat.v1 import chat_pb2
from edge_service.domain.job_id import new_job_id
from edge_service.fleet import Fleet, Worker

# What a model said so far -> whether that is all that is wanted of it.
Enough = Callable[[str], bool]


# One owner's share of the waiting questions: one of so many, and always at least one.
SHARE_OF_OWNER = 4


class ChatLimits(Protocol):
    """How much of the chat workers the edge itself may use."""

    @property
    def seconds(self) -> float:
        """How long an answer may take."""

    @property
    def share(self) -> float:
        """Of all chat slots, at once."""

    @property
    def waiting(self) -> int:
        """How many questions may wait for a worker."""


class ChatWorkers:
    """Asks at most a share of the chat slots at once, counted by each replica of the edge for itself.

    `limits` is asked anew for each question, for policies may change.
    """

    def __init__(self, fleet: Fleet, limits: Callable[[], ChatLimits]) -> None:
        self._fleet, self._limits = fleet, limits
        self._asking = 0
        self._waiting: Counter[str] = Counter()  # by owner

    async def ask(self, owner: str, request: chat_pb2.ChatRequest, enough: Enough) -> chat_pb2.ChatCallback:
        """The answer of the first worker that is free for it; ends whenever the caller stops waiting.

        Raises NoWorker if none has the model, NoFreeSlot if too many wait, or what went wrong at the worker."""
        table = self._limits()
        worker = await self._free(owner, _model(request), table)
        self._asking += 1
        try:
            with worker.occupied():
                return await _Question(worker, owner, request).answer(enough, table.seconds)
        finally:
            self._asking -= 1
            self._fleet.notify()  # other questions may wait for this slot

    async def _free(self, owner: str, model: str, table: ChatLimits) -> Worker:
        if worker := self._choose(model, table):
            return worker
        waiting, own = self._waiting.total(), self._waiting[owner]
        if waiting >= table.waiting or own >= max(1, table.waiting // SHARE_OF_OWNER):
            raise NoFreeSlot(f"{waiting} prompts wait for a chat worker, {own} of them yours")
        self._waiting[owner] += 1
        try:
            while True:
                changed = self._fleet.changed
                if worker := self._choose(model, table):
                    return worker
                await changed.wait()
        finally:
            self._waiting -= Counter([owner])  # and forgets an owner who has none left

    def _choose(self, model: str, table: ChatLimits) -> Worker | None:
        """A free worker with this model; None for now. Raises NoWorker if there is none to wait for."""
        if not any(worker.worker_type == "chat" and model in worker.offers() for worker in self._fleet.connected()):
            raise NoWorker(f"no chat worker with {model} is connected")
        most = max(1, int(table.share * self._fleet.slots("chat")))
        placement = self._fleet.choose("chat", [model]) if self._asking < most else None
        return placement.worker if placement else None


class _Question:
    """One question to one worker."""

    def __init__(self, worker: Worker, owner: str, request: chat_pb2.ChatRequest) -> None:
        self._worker, self._owner = worker, owner
        job_id = new_job_id("chat", "enhance", time.time())
        self._message = chat_pb2.GenerateRequest(job_id=job_id, user_id=owner, request=request)
        self._began = time.monotonic()

    async def answer(self, enough: Enough, seconds: float) -> chat_pb2.ChatCallback:
        """Ends the worker's call when the answer is complete, or enough of it is there."""
        call = self._worker.generate(self._message, timeout=seconds)
        try:
            callback = await self._read(call, enough)
            self._worker.succeeded()
            return callback
        except AtelierError as error:
            self._worker.failed(error, self._owner)
            raise
        finally:
            call.cancel()

    async def _read(self, call: Any, enough: Enough) -> chat_pb2.ChatCallback:
        said = ""
        try:
            async for event in call:
                said += event.delta.text
                if event.HasField("callback"):
                    return cast(chat_pb2.ChatCallback, event.callback)
                if enough(said):
                    return self._so_far(said)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise  # not the call was cancelled, but the task that waits for it
            raise WorkerLost("the connection to the worker was closed while it answered") from None
        raise EngineFailed("the worker ended its stream without a result")

    def _so_far(self, said: str) -> chat_pb2.ChatCallback:
        """What the worker's own callback would say, had it ended here."""
        known, model = self._worker.description, _model(self._message.request)
        names = [found.real_name for found in known.models if found.name == model] if known else []
        metadata = chat_pb2.ChatAssetMetadata(model_name=names[0] if names else model)
        return chat_pb2.ChatCallback(
            job_id=self._message.job_id,
            worker_id=known.worker_id if known else "",
            assets=[chat_pb2.ChatAsset(content=said, metadata=metadata)],
            metadata=chat_pb2.ChatCallbackMetadata(processing_time=time.monotonic() - self._began),
        )


def _model(request: chat_pb2.ChatRequest) -> str:
    return enum_word("ChatModel", chat_pb2.ChatModel.Name(request.model))
