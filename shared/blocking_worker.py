"""What workers share whose engine blocks: it loads beside the event loop, and runs one job a slot, the others in line.

`Jobs` executes jobs for the servicer; `BlockingWorker` is what `shared.server` runs.
"""

import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

import grpc

from atelier.contracts.errors import AtelierError, Draining, EngineFailed, InvalidRequest, Violation
from atelier.pb.job.v1 import job_pb2
from shared.config import WorkerServiceConfig
from shared.engine_thread import EngineThread
from shared.interceptors import Guard
from shared.progress import Meter
from shared.slots import Slots
from shared.tokens import TokenCount
from shared.worker_configs import Model, Sizes, WorkerConfig
from shared.worker_service import WorkerServicer

log = logging.getLogger(__name__)


class LoadedModel(Sizes, Protocol):
    """What an engine loaded, and what it can do."""

    @property
    def real_name(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def capabilities(self) -> tuple[str, ...]: ...


class Step(Protocol):
    """How far an engine is: the name of a Phase, and `step` of `total` in it."""

    @property
    def phase(self) -> Enum: ...
    @property
    def step(self) -> int: ...
    @property
    def total(self) -> int: ...


class Engine(Protocol):
    """What is asked of a blocking engine besides its work."""

    @property
    def model(self) -> LoadedModel: ...
    def load(self) -> None: ...
    def device_memory_mb(self) -> tuple[int, int]: ...
    def count_tokens(self, texts: Sequence[str]) -> Sequence[TokenCount]: ...


EngineT = TypeVar("EngineT", bound=Engine)
ResultT = TypeVar("ResultT")
CallbackT = TypeVar("CallbackT")
Report = Callable[[Any], None]


class Jobs(Generic[EngineT]):
    """One engine, and the jobs that run on it."""

    def __init__(self, slots: Slots, make_engine: Callable[[], EngineT], step: type[Step]) -> None:
        """`make_engine` is called in the engine's own thread; `step` is the class of what its jobs report."""
        self.slots = slots
        self._make_engine, self._step = make_engine, step
        self._thread: EngineThread[Any, Any] = EngineThread(slots.total)
        self._engine: EngineT | None = None

    @property
    def engine(self) -> EngineT:
        """The loaded engine. Raises Draining before."""
        if self._engine is None:
            raise Draining("this worker is still loading its model")
        return self._engine

    async def load(self) -> EngineT:
        """Loads the engine. Raises ModelUnusable."""
        async with aclosing(self._thread.run(self._load)) as loading:
            async for self._engine in loading:
                pass
        return self.engine

    def _load(self, report: Report) -> EngineT:
        engine = self._make_engine()
        engine.load()
        return engine

    async def execute(
        self,
        call: Callable[[EngineT, Report], ResultT],
        store: Callable[[ResultT], Awaitable[CallbackT]],
        meter: Meter,
        fields: Mapping[str, str],
    ) -> AsyncGenerator[job_pb2.Progress | CallbackT, None]:
        """Yields progress while `call` runs in a slot, then what `store` makes of its result, without the slot.

        Closing the iterator ends the call at its next report. `fields` tells which field of the request stands behind
        a field that the engine names in an InvalidRequest. Any error that is not ours becomes EngineFailed.
        """
        self.slots.check()
        if self.slots.busy and (waiting := meter.progress(job_pb2.PHASE_WAITING)):
            yield waiting
        results: list[ResultT] = []
        async with self.slots.hold(), aclosing(self._thread.run(partial(call, self.engine))) as events:
            with _engine_errors(fields):
                async for event in events:
                    if not isinstance(event, self._step):
                        results.append(event)
                    elif progress := _progress(event, meter):
                        yield progress
        if storing := meter.progress(job_pb2.PHASE_STORING):
            yield storing
        yield await store(results[0])

    def close(self) -> None:
        self._thread.close()


def _progress(step: Step, meter: Meter) -> job_pb2.Progress | None:
    phase = cast("job_pb2.Phase", job_pb2.Phase.Value(f"PHASE_{step.phase.name}"))
    return meter.progress(phase, step.step, step.total)


@contextmanager
def _engine_errors(fields: Mapping[str, str]) -> Iterator[None]:
    try:
        yield
    except InvalidRequest as error:
        found = (Violation(fields.get(v.field, v.field), v.description) for v in error.violations)
        raise type(error)(*found) from None
    except AtelierError:
        raise
    except Exception as error:
        error_id = secrets.token_hex(6)
        log.error("engine failed", exc_info=error, extra={"error_id": error_id})
        raise EngineFailed(f"the model failed, error {error_id}; the worker's log has it under this id") from None


@dataclass(frozen=True)
class Kind:
    """What sets one kind of worker apart: its service, its job types and the logical name of its model."""

    worker_type: str
    service: str
    model_name: str
    job_types: tuple[str, ...]


class BlockingWorker(Generic[EngineT]):
    """A worker as `shared.server` runs it. `add_servicer` adds its own service beside WorkerService."""

    def __init__(
        self,
        config: WorkerServiceConfig,
        kind: Kind,
        jobs: Jobs[EngineT],
        add_servicer: Callable[[grpc.aio.Server], None],
    ) -> None:
        self.names = (kind.service, "atelier.worker.v1.WorkerService")
        self.guard: Guard | None = secret.guard if (secret := config.worker_secret) else None
        self._config, self._kind, self._jobs, self._add_servicer = config, kind, jobs, add_servicer
        self._worker = WorkerServicer(jobs.slots, self._memory, self._count_tokens)

    def register(self, server: grpc.aio.Server) -> None:
        self._worker.register(server)
        self._add_servicer(server)

    async def load(self) -> None:
        """Loads the engine, then takes work. Raises ModelUnusable."""
        self._worker.config = self._describe((await self._jobs.load()).model)
        self._jobs.slots.accept()

    def _describe(self, loaded: LoadedModel) -> WorkerConfig:
        sizes = loaded.size_multiple, loaded.min_side, loaded.max_pixels
        return WorkerConfig(
            worker_id=self._config.worker_id,
            worker_type=self._kind.worker_type,
            job_types=self._kind.job_types,
            models=(Model(self._kind.model_name, loaded.real_name, loaded.capabilities, *sizes),),
            slots=self._jobs.slots.total,
            device=loaded.device,
            dtype=loaded.dtype,
        )

    def _memory(self) -> tuple[int, int]:
        return self._jobs.engine.device_memory_mb() if self._worker.config else (0, 0)

    def _count_tokens(self, model: str, texts: Sequence[str]) -> Sequence[TokenCount]:
        return self._jobs.engine.count_tokens(texts)

    def drain(self) -> None:
        self._jobs.slots.drain()

    async def close(self) -> None:
        self._worker.close()
        self._jobs.close()
