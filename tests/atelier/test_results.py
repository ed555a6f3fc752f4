"""Jobs as plain values."""

from dataclasses import replace
from pathlib import Path

import pytest

from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.results import File, Job


def test_what_a_queued_job_waits_for_can_be_read() -> None:
    message = edge_pb2.Job(id="a", status=job_pb2.JOB_STATUS_QUEUED, queue_position=3, priority=-2, retry_of="b")
    message.estimate.start.seconds, message.estimate.finish.seconds, message.estimate.samples = 100, 160, 5
    job = Job(message)
    assert (job.queue_position, job.priority, job.retry_of) == (3, -2, "b")
    assert job.estimate
    assert job.estimate.start
    assert (job.estimate.start.time.timestamp(), job.estimate.finish.time.timestamp()) == (100, 160)
    assert job.estimate.samples == 5


def test_what_is_expected_is_printed_in_one_short_line() -> None:
    message = edge_pb2.Job(status=job_pb2.JOB_STATUS_PROCESSING)
    message.estimate.finish.seconds, message.estimate.finish_latest.seconds = 160, 200
    expected = "Expected(1970-01-01 00:02:40, between 00:00:00 and 00:03:20 UTC)"
    assert repr(Job(message).estimate) == f"Estimate(start=None, finish={expected}, samples=0)"


def test_a_running_job_has_an_end_in_sight_and_no_place() -> None:
    message = edge_pb2.Job(status=job_pb2.JOB_STATUS_PROCESSING)
    message.estimate.finish.seconds = 160
    job = Job(message)
    assert job.estimate
    assert (job.queue_position, job.estimate.start) == (None, None)


FILE = File("image", "ann/job_1/image_0.png", "", "", {}, "job_1", b"first")


@pytest.mark.parametrize("path", ["pictures", "pictures/", "new/pictures", "pictures.d/"])
def test_what_two_jobs_made_is_saved_side_by_side(tmp_path: Path, path: str) -> None:
    folder = f"{tmp_path}/{path}"
    FILE.save(folder)
    replace(FILE, job_id="job_2", key="ann/job_2/image_0.png", data=b"second").save(folder)
    assert {found.name: found.read_bytes() for found in Path(folder).iterdir()} == {
        "job_1_image_0.png": b"first",
        "job_2_image_0.png": b"second",
    }


def test_an_upload_is_saved_under_its_own_name(tmp_path: Path) -> None:
    upload = replace(FILE, job_id="", key="ann/upload_0123/image_0.png")
    assert upload.save(tmp_path).name == "upload_0123_image_0.png"


def test_a_path_with_a_suffix_is_a_file_unless_it_is_a_folder(tmp_path: Path) -> None:
    assert FILE.save(tmp_path / "fox.png") == tmp_path / "fox.png"
    (tmp_path / "folder.d").mkdir()
    assert FILE.save(tmp_path / "folder.d") == tmp_path / "folder.d" / "job_1_image_0.png"


def test_without_an_estimate_there_is_none() -> None:
    assert Job(edge_pb2.Job()).estimate is None
