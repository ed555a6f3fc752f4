"""What a planning step returns, together with the decisions that it records."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.decisions import collecting
from edge_service.domain.kinds import WorkerJob
from edge_service.planning.defaults import fill
from edge_service.planning.presets import NOTHING, Chosen


def decided(call: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[Any, list[edge_pb2.Decision]]:
    """The result of a call and its decisions."""
    with collecting() as decisions:
        return call(*arguments, **named), decisions


async def decided_later(work: Awaitable[Any]) -> tuple[Any, list[edge_pb2.Decision]]:
    """The result of something that is waited for, and its decisions."""
    with collecting() as decisions:
        return await work, decisions


@dataclass(frozen=True)
class FilledJob:
    """A job with its defaults, and the decisions that say where each came from."""

    job: Any
    decisions: list[edge_pb2.Decision]


def filled_job(job: WorkerJob, chosen: Chosen = NOTHING) -> FilledJob:
    """`planning.defaults.fill`, with its decisions."""
    filled, decisions = decided(fill, job, chosen)
    return FilledJob(filled.job, decisions)
