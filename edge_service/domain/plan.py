"""What the edge has decided to execute."""

from collections.abc import Sequence
from dataclasses import dataclass

from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.kinds import WorkerJob


@dataclass(frozen=True)
class Plan:
    """What a worker is to execute: complete but for the ids, which the store gives."""

    type_name: str
    worker_type: str
    job: WorkerJob
    record: edge_pb2.Job
    """What is told of how it came about: decisions, original prompt, content mode, version of the policies."""
    deadline_seconds: float
    priority: int
    needs: Sequence[str]
    """What a worker must offer to get it: models and abilities."""
    credits: int
    webhook: edge_pb2.Webhook | None = None
