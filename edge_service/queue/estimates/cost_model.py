"""What jobs take of a worker, learned from those that have ended. All replicas learn into one table.

An estimate is the mean of the jobs of its kind; before one has ended, the work in it times what a unit of work took
on workers of its type; before that, a first guess. What a job really took also goes to its owner's fair share.
"""

import asyncio
import logging
import math
from dataclasses import dataclass

from edge_service.adapters.database import AWAY, Connection, Database, fetch_all, fetch_value
from edge_service.domain.kinds import WorkerJob, Workload, kind_of
from edge_service.queue.estimates.first_guesses import first_guesses
from edge_service.queue.estimates.learned import Learned, measured_speed, weighted_by_age
from edge_service.queue.estimates.statistics import (
    GUESS_LOG_SPREAD,
    RATE_LOG_SPREAD,
    Statistic,
    deviation,
    measured,
    together,
)
from edge_service.queue.rows import Lease

log = logging.getLogger(__name__)

# Older samples count for less and less beyond this: a new model is learned within some dozens of jobs.
MAX_SAMPLES = 50
# A statement of another replica may commit a little later than the time it wrote.
COMMIT_SECONDS = 10.0
# Queued jobs get a new estimate if it is another by more than this, so many at a time: no lease is given meanwhile.
WORTH_TELLING = 1.2
REPRICED_AT_ONCE = 1000
# Kinds whose queued jobs are looked after; those seen first are forgotten first.
MAX_PRICED = 2000

MERGE = f"""
INSERT INTO costs AS kept (worker_type, kind, worker_id, samples, log_mean, log_m2)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::float8[], %s::float8[], %s::float8[])
    AS learned(worker_type, kind, worker_id, samples, log_mean, log_m2) ORDER BY kind, worker_id
ON CONFLICT (kind, worker_id) DO UPDATE SET
    samples = least(kept.samples + excluded.samples, {MAX_SAMPLES}),
    log_mean = kept.log_mean
        + (excluded.log_mean - kept.log_mean) * excluded.samples / (kept.samples + excluded.samples),
    log_m2 = least({MAX_SAMPLES} / (kept.samples + excluded.samples), 1) * (
        kept.log_m2 + excluded.log_m2 + (excluded.log_mean - kept.log_mean) ^ 2
        * kept.samples * excluded.samples / (kept.samples + excluded.samples)),
    updated = clock_timestamp()"""
READ = """
SELECT worker_type, kind, worker_id, samples, log_mean, log_m2, extract(epoch FROM updated)::float8 AS updated
FROM costs WHERE updated > to_timestamp(%s)"""
FORGET = "DELETE FROM costs WHERE updated < now() - interval '90 days'"


@dataclass(frozen=True)
class Cost:
    """What a job will probably take of a worker."""

    kind: str
    """Jobs of one kind take about as long: their type and everything that decides the time."""
    seconds: float
    """Mean of its seconds on one slot of a worker; the median for a guess."""
    spread: float
    """Standard deviation, in seconds."""
    samples: int
    """Ended jobs of this kind that it was learned from; 0 for a guess."""


@dataclass
class _Priced:
    """A kind that was seen in this process, and the estimate that its queued jobs have."""

    worker_type: str
    kind: Workload
    seconds: float
    spread: float

    def differs(self, cost: Cost) -> bool:
        """Whether an estimate is worth telling: another one, or a much surer one. Raises ValueError for none at all."""
        if not 0 < cost.seconds < math.inf or not 0 <= cost.spread < math.inf:
            raise ValueError(f"no estimate: {cost.seconds} s, give or take {cost.spread} s")
        told = self.seconds / WORTH_TELLING < cost.seconds < self.seconds * WORTH_TELLING
        return not told or cost.spread * 2 < self.spread


class CostModel:
    """The cost model: one per edge replica, in memory, refreshed by every flush."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows: dict[str, dict[str, Learned]] = {}  # by kind and worker; a worker type is the kind of its rate
        self._known: dict[str, Statistic] = {}  # by kind, over all workers
        self._speeds: dict[str, float | None] = {}
        self._newest = 0.0
        self._priced: dict[str, _Priced] = {}
        self._learned: dict[tuple[str, str, str], Statistic] = {}  # by worker type, kind and worker
        self._owed: dict[tuple[str, str], float] = {}  # by worker type and owner
        self._flushing = asyncio.Lock()

    async def load(self) -> None:
        """Reads what was learned so far, and forgets kinds that have had no jobs for long."""
        async with self._database.connection() as connection:
            await connection.execute(FORGET)
            await self._read(connection)

    def estimate(self, job: WorkerJob) -> Cost:
        """What a complete job will probably take."""
        worker_type, kind = kind_of(job).worker_type, kind_of(job).workload(job)
        cost = self._cost(worker_type, kind)
        self._see(_Priced(worker_type, kind, cost.seconds, cost.spread))
        return cost

    def learn(self, lease: Lease, worker_id: str, seconds: float) -> None:
        """Takes notice of what a completed job took. The next flush stores it."""
        kind = kind_of(lease.job).workload(lease.job)
        self._see(_Priced(lease.worker_type, kind, lease.cost, math.inf))
        took = measured(seconds)
        rate = Statistic(1, took.log_mean - math.log(kind.units))
        self._keep(lease.worker_type, kind.name, worker_id, took)
        self._keep(lease.worker_type, lease.worker_type, worker_id, rate)
        if not lease.interactive:  # an interactive job was never charged to a share
            self._owe(lease.worker_type, lease.owner, seconds - lease.cost)

    async def flush(self) -> None:
        """Stores what was learned, reads what other replicas learned, and corrects shares and estimates of queued jobs.

        Raises DatabaseUnavailable; then what was not stored is kept for the next time."""
        async with self._flushing, self._database.connection() as connection:
            await self._store_learned(connection)
            await self._settle_shares(connection)
            await self._read(connection)
            await self._reprice(connection)

    def speed(self, worker_id: str) -> float | None:
        """How fast a worker is, 1 for the average of those that do the same kinds of jobs; None while unknown."""
        if worker_id not in self._speeds:
            self._speeds[worker_id] = measured_speed(self._rows, worker_id)
        return self._speeds[worker_id]

    def _cost(self, worker_type: str, kind: Workload) -> Cost:
        if own := self._known.get(kind.name):
            return _cost(kind.name, own.mean, own.log_spread, max(1, round(own.samples)))
        if rate := self._known.get(worker_type):
            return _cost(kind.name, rate.median * kind.units, max(rate.log_spread, RATE_LOG_SPREAD), 0)
        return _cost(kind.name, first_guesses().seconds_per_unit[worker_type] * kind.units, GUESS_LOG_SPREAD, 0)

    def _see(self, priced: _Priced) -> None:
        self._priced.setdefault(priced.kind.name, priced)
        if len(self._priced) > MAX_PRICED:
            del self._priced[next(iter(self._priced))]

    def _keep(self, worker_type: str, kind: str, worker_id: str, learned: Statistic) -> None:
        key = worker_type, kind, worker_id
        self._learned[key] = self._learned.get(key, Statistic()).plus(learned)

    def _owe(self, worker_type: str, owner: str, seconds: float) -> None:
        self._owed[worker_type, owner] = self._owed.get((worker_type, owner), 0.0) + seconds

    async def _store_learned(self, connection: Connection) -> None:
        learned, self._learned = self._learned, {}
        if not learned:
            return
        statistics = [found.weighted(min(1, MAX_SAMPLES / found.samples)) for found in learned.values()]
        columns = [list(column) for column in zip(*learned, strict=True)]
        figures = [[getattr(found, name) for found in statistics] for name in ("samples", "log_mean", "log_m2")]
        try:
            await connection.execute(MERGE, [*columns, *figures])
        except BaseException:
            for key, statistic in learned.items():
                self._keep(*key, statistic)
            raise

    async def _settle_shares(self, connection: Connection) -> None:
        owed, self._owed = self._owed, {}
        if not owed:
            return
        columns = [list(column) for column in zip(*owed, strict=True)]
        try:
            await connection.execute("SELECT correct_shares(%s, %s, %s)", [*columns, list(owed.values())])
        except BaseException:
            for key, seconds in owed.items():
                self._owe(*key, seconds)
            raise

    async def _read(self, connection: Connection) -> None:
        rows = await fetch_all(connection, READ, [self._newest - COMMIT_SECONDS])
        for row in rows:
            statistic = Statistic(row["samples"], row["log_mean"], row["log_m2"])
            learned = Learned(row["worker_type"], statistic, row["updated"])
            self._rows.setdefault(row["kind"], {})[row["worker_id"]] = learned
            self._newest = max(self._newest, learned.updated)
        for kind in {row["kind"] for row in rows}:
            self._known[kind] = together(weighted_by_age(list(self._rows[kind].values())))
        if rows:
            self._speeds.clear()

    async def _reprice(self, connection: Connection) -> None:
        """A kind or a worker type that cannot be repriced does not keep the others from it."""
        for worker_type, moved in self._moved().items():
            try:
                await _reprice_jobs(connection, worker_type, moved)
            except AWAY:
                raise  # the next flush tries all again
            except Exception as error:
                log.error("queued jobs keep their estimates", exc_info=error, extra={"worker_type": worker_type})

    def _moved(self) -> dict[str, list[tuple[_Priced, Cost]]]:
        """The kinds whose estimate is worth telling, by worker type."""
        moved: dict[str, list[tuple[_Priced, Cost]]] = {}
        for name, priced in list(self._priced.items()):
            try:
                cost = self._cost(priced.worker_type, priced.kind)
                if priced.differs(cost):
                    moved.setdefault(priced.worker_type, []).append((priced, cost))
            except Exception as error:
                log.error("a kind of job has no estimate", exc_info=error, extra={"kind": name})
                del self._priced[name]  # until it is seen again
        return moved


async def _reprice_jobs(connection: Connection, worker_type: str, moved: list[tuple[_Priced, Cost]]) -> None:
    columns = [[getattr(cost, name) for _, cost in moved] for name in ("kind", "seconds", "spread", "samples")]
    query = "SELECT reprice_jobs(%s, %s, %s::float8[], %s::float8[], %s::integer[], %s, %s)"
    values = [worker_type, *columns, WORTH_TELLING, REPRICED_AT_ONCE]
    if await fetch_value(connection, query, values) < REPRICED_AT_ONCE:  # otherwise the next flush goes on
        for priced, cost in moved:
            priced.seconds, priced.spread = cost.seconds, cost.spread


def _cost(kind: str, seconds: float, log_spread: float, samples: int) -> Cost:
    return Cost(kind, seconds, deviation(seconds, log_spread), samples)
