"""One worker: what it is, how busy it is, and the calls to it."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
from grpc.aio import EOF  # type: ignore[attr-defined]

from atelier.contracts.errors import (
    AtelierError,
    Draining,
    EngineFailed,
    InvalidRequest,
    Unauthenticated,
    WorkerLost,
    from_rpc_error,
)
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from edge_service.domain.kinds import KINDS
from edge_service.fleet.channel import Channels, Credentials
from edge_service.fleet.circuit_breaker import CircuitBreaker, State
from shared.validation import check

log = logging.getLogger(__name__)

# A frozen worker is noticed by keepalive within 8 s; a status stream that says nothing for longer is dead too.
SILENCE_SECONDS = 8.0
RECONNECT_SECONDS = (0.2, 5.0)
# How many fields the log names when a worker's message is invalid.
MAX_NAMED = 5

Notify = Callable[[], None]
# Worker id -> its measured speed in comparison with others of its type, 1 for the average; None while unknown.
Speed = Callable[[str], float | None]


def unmeasured(worker_id: str) -> float | None:
    """The speed of a worker that was not measured."""
    return None


class Worker:
    """One worker as the edge knows it. `description` and `status` are None while it cannot be reached."""

    def __init__(self, address: str, speed: Speed = unmeasured, credentials: Credentials | None = None) -> None:
        self.address = address
        self.description: worker_pb2.WorkerDescription | None = None
        self.status: worker_pb2.WatchStatusResponse | None = None
        self.in_flight = 0
        self.leaving = False
        """No longer among the addresses of its name: it gets no new job."""
        self.breaker = CircuitBreaker()
        self._speed, self._channels = speed, Channels(credentials or Credentials())
        self._others = 0
        self._refused = False

    @property
    def accepting(self) -> bool:
        """Whether it can be reached and takes new work."""
        return self.status is not None and self.status.accepting and not self.leaving

    @property
    def free(self) -> int:
        """Slots that neither the jobs of other replicas nor our own have taken. A worker on trial has but one."""
        if not self.accepting or self.status is None or self.breaker.state is State.EJECTED:
            return 0
        slots = 1 if self.breaker.state is State.HALF_OPEN else self.status.slots
        return max(0, min(slots, self.status.slots - self._others) - self.in_flight)

    @property
    def worker_type(self) -> str:
        return self.description.worker_type if self.description else ""

    @property
    def state(self) -> str:
        """One word: lost, draining, or how far it is trusted."""
        if self.status is None:
            return "lost"
        return self.breaker.state if self.accepting else "draining"

    @property
    def speed(self) -> float | None:
        """Its measured speed, 1 for the average; None while unknown."""
        return self._speed(self.description.worker_id) if self.description else None

    def offers(self) -> list[str]:
        """What jobs may need of it: the names and the capabilities of the models that are loaded now."""
        if self.description is None or self.status is None:
            return []
        loaded = [model for model in self.description.models if model.name in self.status.loaded_models]
        return sorted({word for model in loaded for word in (model.name, *model.capabilities)})

    def generate(self, request: Any, timeout: float) -> Any:
        """Starts one job; returns the streaming call. Raises Draining if the worker has left the fleet."""
        if self.leaving:
            raise Draining("the worker has left")
        return KINDS[self.worker_type].stub_class(self._channels.to(self.address)).Generate(request, timeout=timeout)

    async def count_tokens(self, model: str, texts: Sequence[str], timeout: float) -> Sequence[worker_pb2.TokenCount]:
        """The token counts of texts by each tokenizer of one of its models; takes no slot. Raises AtelierError."""
        if self.leaving:
            raise Draining("the worker has left")
        stub = worker_pb2_grpc.WorkerServiceStub(self._channels.to(self.address))
        request = worker_pb2.CountTokensRequest(model=model, texts=texts)
        try:
            answer: worker_pb2.CountTokensResponse = await stub.CountTokens(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise  # not the call was cancelled, but the task that waits for it
            raise WorkerLost("the connection to the worker was closed while it counted") from None
        if not answer.counts or not all(_plausible(count, texts) for count in answer.counts):
            raise EngineFailed("the worker's token counts contradict the text")
        return answer.counts

    @contextlib.contextmanager
    def occupied(self) -> Iterator[None]:
        """Counts one job of ours for the length of the block."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def failed(self, error: AtelierError, owner: str = "") -> None:
        """A job of this owner failed on it, or the connection was lost: ejects it if that is its fault."""
        if self.breaker.failed(error, owner):
            seconds = round(self.breaker.seconds_left, 1)
            log.warning("worker ejected", extra={"address": self.address, "seconds": seconds})

    def succeeded(self) -> None:
        """It completed a job of ours."""
        self.breaker.succeeded()

    def heard(self, description: worker_pb2.WorkerDescription, status: worker_pb2.WatchStatusResponse) -> None:
        """Takes a new status. What it says of jobs beyond our own belongs to other replicas."""
        self.description, self.status = description, status
        self._others = max(0, status.slots - status.free_slots + status.waiting - self.in_flight)

    async def follow(self, notify: Notify) -> None:
        """Keeps description and status up to date for ever, calling `notify` whenever they change."""
        delay, longest = RECONNECT_SECONDS
        while True:
            ended = await self._watched(notify)
            self._tell_refusal(ended)
            if self.status is not None:
                level = logging.INFO if isinstance(ended, Draining) else logging.WARNING  # to stop is no fault
                log.log(level, "worker lost", extra={"address": self.address, "why": type(ended).__name__})
                self.failed(ended)
                delay = RECONNECT_SECONDS[0]
            self.status = None
            notify()
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))
            delay = min(delay * 2, longest)

    def _tell_refusal(self, ended: AtelierError) -> None:
        """Logs once that the worker does not accept our token or certificate: only an operator can change that."""
        if isinstance(ended, Unauthenticated) and not self._refused:
            log.warning("worker refuses this edge: is its ATELIER_WORKER_TOKEN ours?", extra={"address": self.address})
        self._refused = isinstance(ended, Unauthenticated)

    async def _watched(self, notify: Notify) -> AtelierError:
        """Asks the worker what it is, then relays its status until the stream ends; returns why it ended."""
        await self._channels.renew(idle=not self.in_flight)
        stub = worker_pb2_grpc.WorkerServiceStub(self._channels.to(self.address))
        try:
            await self._relay(stub, notify)
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error)
        except TimeoutError:
            return WorkerLost("the worker's status stream fell silent")
        except InvalidRequest as refused:
            fields = ", ".join(violation.field for violation in refused.violations[:MAX_NAMED])
            log.warning("worker sent an invalid message", extra={"address": self.address, "fields": fields})
            return WorkerLost("the worker sent an invalid description or status")
        except Exception:
            log.exception("following a worker failed", extra={"address": self.address})
            return WorkerLost("the worker could not be followed")
        return Draining("the worker ended its status")  # as one does that drains

    async def _relay(self, stub: Any, notify: Notify) -> None:
        description, known = await _described(stub), None
        statuses = stub.WatchStatus(worker_pb2.WatchStatusRequest())
        try:
            while (status := await _next(statuses)) is not EOF:
                check(status)
                loaded = sorted(status.loaded_models)
                if loaded != known and loaded != sorted(model.name for model in description.models):
                    description = await _described(stub)  # a model was loaded or unloaded since
                known = loaded
                if self.status is None:
                    log.info("worker connected", extra={"address": self.address, "worker_id": description.worker_id})
                self.heard(description, status)
                notify()
        finally:
            statuses.cancel()

    async def close(self) -> None:
        """Ends every call to it."""
        self.leaving = True
        await self._channels.close()

    def message(self) -> edge_pb2.Worker:
        """The worker as operators see it."""
        message = edge_pb2.Worker(
            address=self.address,
            description=self.description,
            status=self.status,
            in_flight=self.in_flight,
            failures=self.breaker.failures,
            speed=self.speed,
        )
        if seconds := self.breaker.seconds_left:
            message.ejected_until.FromMilliseconds(int((time.time() + seconds) * 1000))
        return message


def _plausible(count: worker_pb2.TokenCount, texts: Sequence[str]) -> bool:
    read = count.read_characters
    return (
        count.limit > 0
        and len(count.tokens) == len(texts)
        and (not read or len(read) == len(texts))
        and all(end <= len(text) for end, text in zip(read, texts, strict=False))
    )


async def _described(stub: Any) -> worker_pb2.WorkerDescription:
    answer: worker_pb2.DescribeResponse = await stub.Describe(worker_pb2.DescribeRequest(), timeout=SILENCE_SECONDS)
    check(answer.worker)
    return answer.worker


async def _next(statuses: Any) -> Any:
    # Not wait_for: that one forgets a cancellation that comes together with an answer.
    async with asyncio.timeout(SILENCE_SECONDS):
        return await statuses.read()
