"""The workers: where they are, what each is, how busy it is, whether it can be trusted, and which gets the next job."""

from edge_service.fleet.fleet import Fleet
from edge_service.fleet.placement import Placement
from edge_service.fleet.worker import Worker

__all__ = ["Fleet", "Placement", "Worker"]
