"""What was learned from ended jobs, a row per kind of job and worker, and what follows from comparing rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_service.queue.estimates.statistics import Statistic

# Half of what a worker said counts no more once others have learned for so long after it.
HALF_LIFE_SECONDS = 86_400.0
# A worker's speed is told once it and the others have so many jobs of a kind.
SAMPLES_FOR_SPEED = 3


@dataclass(frozen=True)
class Learned:
    """A row of the table: what one worker says about one kind."""

    worker_type: str
    statistic: Statistic
    updated: float


def weighted_by_age(rows: Sequence[Learned]) -> list[Statistic]:
    """A worker that is gone fades as others go on learning; one that is alone keeps all its weight."""
    newest = max(row.updated for row in rows)
    return [row.statistic.weighted(0.5 ** ((newest - row.updated) / HALF_LIFE_SECONDS)) for row in rows]


def measured_speed(rows: Mapping[str, Mapping[str, Learned]], worker_id: str) -> float | None:
    """How fast a worker is, 1 for the average of those that do the same kinds of jobs; None while unknown.

    `rows` are by kind and worker. Compares with the mean of the workers of each kind; kinds with many jobs say more."""
    total = weights = 0.0
    for kind, workers in rows.items():
        found = {name: row.statistic for name, row in workers.items() if row.statistic.samples >= SAMPLES_FOR_SPEED}
        if worker_id in found and len(found) > 1 and kind != workers[worker_id].worker_type:
            average = sum(statistic.log_mean for statistic in found.values()) / len(found)
            weight = found[worker_id].samples
            total += weight * (average - found[worker_id].log_mean)
            weights += weight
    return math.exp(total / weights) if weights else None
