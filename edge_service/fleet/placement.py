"""Which of the workers gets the next job, and what was weighed for it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from edge_service.fleet.circuit_breaker import State
from edge_service.fleet.worker import Worker


@dataclass(frozen=True)
class Placement:
    """A worker that can take a job, and what was weighed when it was chosen: recorded with the attempts it gets."""

    worker: Worker
    routing: str


def placements(workers: Sequence[Worker]) -> list[Placement]:
    """Those of `workers` with a free slot, the best first: trusted, then fast, then with the most free slots."""
    free = [worker for worker in workers if worker.free > 0]
    random.shuffle(free)  # else all replicas would run to the first of equals, and all but one find it taken
    return [Placement(worker, _routing(worker, len(free) - 1)) for worker in sorted(free, key=_worth, reverse=True)]


def _routing(worker: Worker, others: int) -> str:
    """What is weighed when this worker is chosen now while so many others have a free slot too, for people to read."""
    slots = worker.status.slots if worker.status else 0
    speed = "not measured" if worker.speed is None else f"{worker.speed:.2f}"
    models = ", ".join(sorted(worker.status.loaded_models)) if worker.status else ""
    considered = {0: "no other worker was", 1: "1 other worker was"}.get(others, f"{others} other workers were")
    return (
        f"free slots {worker.free} of {slots}, speed {speed}, breaker {worker.breaker.state},"
        f" resident models {models or 'none'}; {considered} considered"
    )


def _worth(worker: Worker) -> tuple[bool, float, int]:
    # Differences below a tenth are noise: there the load decides.
    speed = 1.0 if worker.speed is None else round(worker.speed, 1)
    return worker.breaker.state is State.TRUSTED, speed, worker.free
