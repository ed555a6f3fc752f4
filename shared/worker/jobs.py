"""Executes jobs on a worker's engine: one a slot, the others in line."""

import logging
import secrets
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Generic, TypeVar, cast

from atelier.contracts.errors import AtelierError, Draining, EngineFailed, InvalidRequest, Violation
from atelier.pb.job.v1 import job_pb2
from shared.worker.engine import Engine, Model, Step
from shared.worker.models import Models
from shared.worker.progress import Meter
from shared.worker.slots import Slots

log = logging.getLogger(__name__)

RequestT = TypeVar("RequestT")
EventT = TypeVar("EventT")


class Jobs(Generic[RequestT, EventT]):
    """What a servicer executes jobs with."""

    def __init__(self, slots: Slots, models: "Models[Engine[RequestT, EventT]]") -> None:
        self.slots, self.models = slots, models

    @property
    def model(self) -> Model:
        """The model of jobs that name none: the first that is loaded. Raises Draining while there is none."""
        if not self.models.loaded:
            raise Draining("this worker has no model loaded")
        return self.models.loaded[0]

    async def execute(
        self, request: RequestT, model: str, meter: Meter, fields: Mapping[str, str], first: Step | None = None
    ) -> AsyncGenerator[job_pb2.Progress | EventT, None]:
        """Yields progress and results of a job, once it has a slot; the slot is free again when the iterator has ended.

        `first` is reported before anything of the engine's. `fields` tells which field of the caller's request stands
        behind one that the engine names in an InvalidRequest. Any error that is not ours becomes EngineFailed.
        """
        self.slots.check()
        if self.slots.busy and (waiting := meter.progress(job_pb2.PHASE_WAITING)):
            yield waiting
        async with self.slots.hold(), self.models.using(model) as engine:
            if first and (progress := _progress(first, meter)):
                yield progress
            with _engine_errors(fields):
                async with aclosing(engine.generate(request)) as events:
                    async for event in events:
                        if not isinstance(event, Step):
                            yield event
                        elif progress := _progress(event, meter):
                            yield progress


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
