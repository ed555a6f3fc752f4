"""Jobs as plain values."""

from atelier.results import Job
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.job.v1 import job_pb2


def test_what_a_queued_job_waits_for_can_be_read() -> None:
    message = edge_pb2.Job(id="a", status=job_pb2.JOB_STATUS_QUEUED, queue_position=3, priority=-2, retry_of="b")
    message.estimate.start.seconds, message.estimate.finish.seconds, message.estimate.samples = 100, 160, 5
    job = Job(message)
    assert (job.queue_position, job.priority, job.retry_of) == (3, -2, "b")
    assert job.estimate
    assert job.estimate.start
    assert (job.estimate.start.time.timestamp(), job.estimate.finish.time.timestamp()) == (100, 160)
    assert job.estimate.samples == 5


def test_a_running_job_has_an_end_in_sight_and_no_place() -> None:
    message = edge_pb2.Job(status=job_pb2.JOB_STATUS_PROCESSING)
    message.estimate.finish.seconds = 160
    job = Job(message)
    assert job.estimate
    assert (job.queue_position, job.estimate.start) == (None, None)


def test_without_an_estimate_there_is_none() -> None:
    assert Job(edge_pb2.Job()).estimate is None
