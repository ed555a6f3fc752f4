"""The demonstration: quickly against a scripted edge, and slowly against everything real."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from atelier.cli.demo import SUBJECT, show
from atelier.cli.screen import screen
from atelier.client import AsyncClient
from atelier.errors import EngineFailed
from tests.kit.scripted_edge import ANSWER, PNG, Script


async def test_it_makes_an_image_a_video_and_an_answer(
    data: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    async with AsyncClient() as client:
        await show(client, data / "out", screen(as_json=True))
    assert [request.WhichOneof("job") for request in script.submitted] == ["sdxl", "wan"]
    assert script.submitted[0].sdxl.prompt == SUBJECT
    assert (data / "out" / "image_0.png").read_bytes() == PNG
    assert (data / "out" / "answer.txt").read_text() == "".join(ANSWER) + "\n"
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [fact["made"] for fact in facts if "made" in fact] == ["image", "video", "chat"]


async def test_a_job_that_fails_ends_it(data: Path, script: Script) -> None:
    script.failure = EngineFailed("the model failed")
    async with AsyncClient() as client:
        with pytest.raises(EngineFailed):
            await show(client, data / "out", screen(as_json=True))
    assert script.chats == []


@pytest.mark.slow
def test_the_whole_demonstration_leaves_three_files_and_no_process(repository: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "ATELIER_DATA": str(tmp_path / "data")}
    command = [sys.executable, "-m", "atelier", "demo", "--out", str(tmp_path / "out"), "--json"]
    done = subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"image_0.png", "video_0.mp4", "answer.txt"}
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
