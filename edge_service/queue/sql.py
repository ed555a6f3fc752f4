"""What both sides of the job tables need: events that always look the same, and reading a statement's answer."""

from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.queue.rows import status_value

QUEUED = edge_pb2.JobEvent(status=job_pb2.JOB_STATUS_QUEUED).SerializeToString()
STARTED = edge_pb2.JobEvent(status=job_pb2.JOB_STATUS_PROCESSING).SerializeToString()


def ended(word: str) -> bytes:
    """The last event of a job. A watcher gets the whole job with it, as it then stands."""
    return edge_pb2.JobEvent(ended=edge_pb2.Job(status=status_value(word))).SerializeToString()
