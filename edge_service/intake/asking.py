"""Questions that the edge itself has for the chat workers. People's own chats come first."""

import asyncio
import time

import grpc

from edge_service.fleet import Fleet, Worker
from edge_service.intake.job_ids import new_job_id
from edge_service.intake.templates import Enhancement, enhancement
from shared.errors import AtelierError, EngineFailed, NoFreeSlot, NoWorker, WorkerLost, from_rpc_error
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.validation_schemas import enum_word


class ChatWorkers:
    """Asks at most a share of the chat slots at once, counted by each replica of the edge for itself."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._asking = self._waiting = 0

    async def ask(self, owner: str, request: chat_pb2.ChatRequest) -> chat_pb2.ChatCallback:
        """The answer of the first worker that is free for it; ends whenever the caller stops waiting.

        Raises NoWorker if none has the model, NoFreeSlot if too many wait, or what went wrong at the worker."""
        table = enhancement()
        worker = await self._free(enum_word("ChatModel", chat_pb2.ChatModel.Name(request.model)), table)
        self._asking += 1
        try:
            with worker.occupied():
                return await _answer(worker, owner, request, table.seconds)
        finally:
            self._asking -= 1
            self._fleet.notify()  # others may wait for this place

    async def _free(self, model: str, table: Enhancement) -> Worker:
        if worker := self._choose(model, table):
            return worker
        if self._waiting >= table.waiting:
            raise NoFreeSlot(f"{self._waiting} prompts wait for a chat worker")
        self._waiting += 1
        try:
            while True:
                changed = self._fleet.changed
                if worker := self._choose(model, table):
                    return worker
                await changed.wait()
        finally:
            self._waiting -= 1

    def _choose(self, model: str, table: Enhancement) -> Worker | None:
        """A free worker with this model; None for now. Raises NoWorker if there is none to wait for."""
        if not any(worker.worker_type == "chat" and model in worker.offers() for worker in self._fleet.connected()):
            raise NoWorker(f"no chat worker with {model} is connected")
        most = max(1, int(table.share * self._fleet.slots("chat")))
        return self._fleet.choose("chat", [model]) if self._asking < most else None


async def _answer(worker: Worker, owner: str, request: chat_pb2.ChatRequest, seconds: float) -> chat_pb2.ChatCallback:
    job_id = new_job_id("chat", "enhance", time.time())
    call = worker.generate(chat_pb2.GenerateRequest(job_id=job_id, user_id=owner, request=request), timeout=seconds)
    try:
        async for event in call:
            if event.HasField("callback"):
                worker.succeeded()
                callback: chat_pb2.ChatCallback = event.callback
                return callback
        failure: AtelierError = EngineFailed("the worker ended its stream without a result")
    except grpc.aio.AioRpcError as error:
        failure = from_rpc_error(error)
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) and task.cancelling():
            raise  # not the call was cancelled, but whoever waits for it
        failure = WorkerLost("the connection to the worker was closed while it answered")
    finally:
        call.cancel()
    worker.failed(failure, owner)
    raise failure
