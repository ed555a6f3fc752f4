"""The workers, for operators."""

from atelier.pb.edge.v1 import edge_pb2
from edge_service.fleet import Fleet


class Workers:
    """What the edge knows of its workers."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def list(self) -> list[edge_pb2.Worker]:
        """Every worker, reachable or not."""
        return [worker.message() for worker in self._fleet.workers]
