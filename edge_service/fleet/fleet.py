"""All workers: who is among them, and which one gets the next job."""

import asyncio
from collections.abc import Collection, Sequence
from functools import partial
from itertools import product

from atelier.pb.worker.v1 import worker_pb2
from edge_service.domain.kinds import KINDS
from edge_service.fleet.channel import Credentials
from edge_service.fleet.circuit_breaker import State
from edge_service.fleet.discovery import Discovery, Resolve, parse, resolve
from edge_service.fleet.placement import Placement, placements
from edge_service.fleet.worker import Speed, Worker, unmeasured
from shared import telemetry

STATES = ("lost", "draining", *State)
# The type of a worker that was never reached.
UNKNOWN = "unknown"


class Fleet:
    """All workers the edge was told of, and those it finds under the names it was told of."""

    def __init__(
        self,
        entries: Sequence[str],
        speed: Speed = unmeasured,
        resolve: Resolve = resolve,
        credentials: Credentials | None = None,
    ) -> None:
        """`entries` are host:port or dns:///name:port. Raises ValueError for one that is neither."""
        self._addresses, names = parse(entries)
        self._speed, self._discovery = speed, Discovery(names, resolve)
        self._credentials = credentials or Credentials()
        self.workers = [self._worker(address) for address in dict.fromkeys(self._addresses)]
        self.changed = asyncio.Event()
        """Take it before reading the workers; it is set when any of them changes."""
        self._following: dict[Worker, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        for worker in self.workers:
            self._follow(worker)
        self._keep(asyncio.create_task(self._discovery.follow(self._found)))
        for key in product((*KINDS, UNKNOWN), STATES):
            telemetry.WORKERS.labels(*key).set_function(partial(self._count, key))

    def notify(self) -> None:
        """Wakes what waits for a change."""
        before, self.changed = self.changed, asyncio.Event()
        before.set()

    async def close(self) -> None:
        tasks = [*self._tasks, *self._following.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in self.workers))

    def candidates(self, worker_type: str, needs: Collection[str] = ()) -> list[Placement]:
        """The workers of this type that can take a job now and offer what it needs, the best first."""
        reached = [worker for worker in self.workers if worker.worker_type == worker_type and worker.accepting]
        if all(worker.breaker.state is State.EJECTED for worker in reached):
            for worker in reached:
                worker.breaker.probe_sooner()
        return placements([worker for worker in reached if set(needs) <= set(worker.offers())])

    def choose(self, worker_type: str, needs: Collection[str] = ()) -> Placement | None:
        """The best worker of this type that offers what a job needs; None if none can take it now."""
        return next(iter(self.candidates(worker_type, needs)), None)

    def has(self, worker_type: str, needs: Collection[str] = ()) -> bool:
        """Whether a worker of this type, busy or not, takes work and offers what a job needs."""
        fit = (worker for worker in self.connected() if worker.worker_type == worker_type and worker.accepting)
        return any(set(needs) <= set(worker.offers()) for worker in fit)

    def offers(self, worker: Worker) -> list[str]:
        """What jobs may need of a worker: names and capabilities of its loaded models."""
        return worker.offers()

    def slots(self, worker_type: str) -> int:
        """How many jobs the workers of this type that take any execute at once."""
        return sum(
            worker.status.slots
            for worker in self.workers
            if worker.status and worker.accepting and worker.worker_type == worker_type
        )

    def connected(self) -> list[Worker]:
        """The workers that can be reached now."""
        return [worker for worker in self.workers if worker.status is not None]

    def models(self) -> dict[str, list[worker_pb2.Model]]:
        """The models of the connected workers, by worker type."""
        found: dict[str, list[worker_pb2.Model]] = {}
        for worker in self.connected():
            if worker.description:
                found.setdefault(worker.worker_type, []).extend(worker.description.models)
        return found

    def _found(self) -> None:
        """Follows who is new; drops who has gone, once no job of ours runs there and a round has passed."""
        present = self._discovery.addresses.union(self._addresses)
        for worker in [worker for worker in self.workers if worker.leaving and worker.address not in present]:
            if not worker.in_flight:
                self._drop(worker)
        for worker in self.workers:
            worker.leaving = worker.address not in present
        for address in sorted(present - {worker.address for worker in self.workers}):
            self.workers.append(worker := self._worker(address))
            self._follow(worker)
        self.notify()

    def _worker(self, address: str) -> Worker:
        return Worker(address, self._speed, self._credentials)

    def _follow(self, worker: Worker) -> None:
        self._following[worker] = asyncio.create_task(worker.follow(self.notify))

    def _drop(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self._following.pop(worker).cancel()
        self._keep(asyncio.create_task(worker.close()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _count(self, key: tuple[str, str]) -> int:
        return sum((worker.worker_type or UNKNOWN, worker.state) == key for worker in self.workers)
