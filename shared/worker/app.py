"""A worker as `shared.server` runs it: its own service beside WorkerService, and its models."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc

from atelier.contracts.errors import Draining
from shared.config import ModelConfig, WorkerServiceConfig
from shared.interceptors import Guard
from shared.worker.description import WorkerConfig
from shared.worker.engine import Engine
from shared.worker.jobs import Jobs
from shared.worker.models import MakeEngine, Models
from shared.worker.service import WorkerServicer
from shared.worker.slots import Slots

RequestT = TypeVar("RequestT")
EventT = TypeVar("EventT")


@dataclass(frozen=True)
class Kind:
    """What sets one kind of worker apart: its gRPC service and its job types."""

    worker_type: str
    service: str
    job_types: tuple[str, ...]


class Worker(Generic[RequestT, EventT]):
    """Slots, models and the two services of a worker."""

    def __init__(
        self,
        config: WorkerServiceConfig,
        kind: Kind,
        models: Sequence[ModelConfig],
        make_engine: "MakeEngine[Engine[RequestT, EventT]]",
        add_servicer: "Callable[[Jobs[RequestT, EventT], grpc.aio.Server], None]",
    ) -> None:
        """`add_servicer` adds the worker's own service to a server. For `make_engine` see Models."""
        self.names = (kind.service, "atelier.worker.v1.WorkerService")
        self.guard: Guard | None = secret.guard if (secret := config.worker_secret) else None
        self._config, self._kind, self._add_servicer = config, kind, add_servicer
        self._slots = Slots(config.slots, config.waiting)
        self._models: Models[Engine[RequestT, EventT]] = Models(models, make_engine, self._models_changed)
        self._worker = WorkerServicer(self._slots, self._models, self.describe)
        self._started, self._works = False, True
        self._described: WorkerConfig | None = None
        self._loading: asyncio.Task[Any] | None = None

    def register(self, server: grpc.aio.Server) -> None:
        self._worker.register(server)
        self._add_servicer(Jobs(self._slots, self._models), server)

    async def load(self) -> None:
        """Loads the models, then takes work. Raises ModelUnusable."""
        loop = asyncio.get_running_loop()

        def on_change(works: bool) -> None:
            loop.call_soon_threadsafe(self._engine_changed, works)

        self._loading = asyncio.ensure_future(self._models.start(on_change))
        # Shielded, because a thread cannot be stopped: `close` waits for it, to free what it loaded.
        await asyncio.shield(self._loading)
        self._started = True
        self._models_changed()

    def _engine_changed(self, works: bool) -> None:
        self._works = works
        self._models_changed()

    def _models_changed(self) -> None:
        self._described = None
        if self._started and self._works and self._models.loaded:
            self._slots.accept()
        else:
            self._slots.pause()

    def describe(self) -> WorkerConfig:
        """What this worker is now; the same object until that changes. Raises Draining before it has loaded."""
        if not (self._started and self._models.loaded):
            raise Draining("this worker has no model loaded yet")
        if self._described is None:
            self._described = WorkerConfig(
                worker_id=self._config.worker_id,
                worker_type=self._kind.worker_type,
                job_types=self._kind.job_types,
                models=self._models.loaded,
                slots=self._slots.total,
                device=self._models.engine.device,
                dtype=self._models.engine.dtype,
            )
        return self._described

    def drain(self) -> None:
        self._slots.drain()

    async def close(self) -> None:
        self._worker.close()
        if self._loading:
            self._loading.cancel()
            await asyncio.wait({self._loading})
        await self._models.close()
