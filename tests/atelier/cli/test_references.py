"""Reference pictures on the command line: what is a file here is uploaded, the rest goes to the edge as it is."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from atelier.cli.app import app
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from tests.kit.scripted_edge import PNG, Script, upload_key

Run = Callable[..., Result]
KEY = upload_key(hashlib.sha256(PNG).hexdigest())


@pytest.fixture
def run(data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one command in a folder that has a picture, with the scripted edge for the running one."""
    monkeypatch.chdir(data)
    (data / "cat.png").write_bytes(PNG)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_an_upload_prints_its_key(run: Run, script: Script) -> None:
    assert run("upload", "cat.png").stdout == f"{KEY}\n"
    assert json.loads(run("upload", "cat.png", "--json").stdout) == {"key": KEY}
    assert script.uploads[0] == edge_pb2.CreateUploadRequest(
        mime_type="image/png", bytes=len(PNG), sha256=hashlib.sha256(PNG).hexdigest()
    )


def test_what_cannot_be_uploaded_is_said_in_a_line(run: Run, data: Path) -> None:
    (data / "text.txt").write_text("a cat")
    assert "no PNG, JPEG or WEBP picture" in run("upload", "text.txt").stderr
    assert run("upload", "nothing.png").stderr == "error: nothing.png: no such file or directory\n"
    assert run("upload", "nothing.png").exit_code == 1


def test_a_file_is_uploaded_and_its_key_is_the_reference(run: Run, script: Script) -> None:
    words = ("--reference-strength", "0.7", "--reference-type", "composition", "--reference-use", "copy")
    assert run("image", "a fox", "--reference", "cat.png", *words).exit_code == 0
    [submitted] = script.submitted
    assert submitted.sdxl.metadata == sdxl_pb2.SdxlMetadata(
        reference_image_url=KEY, reference_strength=0.7, reference_type=sdxl_pb2.REFERENCE_TYPE_COMPOSITION
    )
    assert submitted.reference_use == edge_pb2.REFERENCE_USE_EXACT_COPY


@pytest.mark.parametrize("value", ["https://example.com/cat.png", "developer/job/image_0.png", "no-such-file.png"])
def test_a_key_and_a_url_go_to_the_edge_as_they_are(run: Run, script: Script, value: str) -> None:
    assert run("image", "a fox", "--reference", value, "--reference-use", "modify").exit_code == 0
    assert script.submitted[0].sdxl.metadata.reference_image_url == value
    assert script.submitted[0].reference_use == edge_pb2.REFERENCE_USE_MODIFY
    assert script.uploads == []


@pytest.mark.parametrize("option", ["image", "first-frame", "last-frame"])
def test_a_video_may_have_each_of_its_pictures(run: Run, script: Script, option: str) -> None:
    assert run("video", "waves", f"--{option}", "cat.png", "--reference-strength", "0.3").exit_code == 0
    assert getattr(script.submitted[0].wan.config, option.replace("-", "_")) == KEY
    assert script.submitted[0].wan.metadata.reference_strength == 0.3


def test_a_use_that_is_none_is_refused(run: Run, script: Script) -> None:
    assert run("image", "a fox", "--reference", "cat.png", "--reference-use", "steal").exit_code == 2
    assert script.submitted == []


def test_a_job_in_a_file_is_sent_exactly_as_it_stands(run: Run, data: Path, script: Script) -> None:
    job = {"type": "sdxl_image_fast", "prompt": "a", "metadata": {"reference_image_url": "cat.png"}}
    (data / "job.json").write_text(json.dumps(job))
    assert run("submit", "job.json").exit_code == 0
    assert script.submitted[0].sdxl.metadata.reference_image_url == "cat.png"
    assert script.uploads == []
