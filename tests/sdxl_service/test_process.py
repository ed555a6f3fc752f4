"""The image worker as a process with a real pipeline: it draws, stops when told, draws again, and drains."""

import asyncio
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
from PIL import Image

from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2_grpc
from atelier.small_models.cache import ensure
from tests.kit.fake_sdxl_engine import request
from tests.kit.worker_process import ROOT, WorkerProcess, running

SECRET = "sentinel-4711 " + "word " * 150  # longer than the text encoders read, which their library likes to print
SMALL = {"resolution": "128x64", "steps": 10, "guidance_scale": 4.5}


async def draw(channel: grpc.aio.Channel, **changes: Any) -> Any:
    call = sdxl_pb2_grpc.SdxlServiceStub(channel).Generate(request(**changes))
    return [event async for event in call][-1].callback


async def cancel_while_denoising(channel: grpc.aio.Channel) -> None:
    call = sdxl_pb2_grpc.SdxlServiceStub(channel).Generate(request(id="cancelled", config={**SMALL, "steps": 50}))
    while (await call.read()).progress.phase != job_pb2.PHASE_DENOISING:
        pass
    call.cancel()


def check_pictures(process: WorkerProcess, callback: Any) -> None:
    for seed, asset in zip((7, 8, 9), callback.assets, strict=True):
        with Image.open(io.BytesIO((process.library / asset.key).read_bytes())) as picture:
            assert picture.size == (128, 64) == (asset.metadata.width, asset.metadata.height)
        assert (asset.metadata.steps, asset.metadata.guidance_scale, asset.metadata.seed) == (10, 4.5, seed)


async def test_a_worker_draws_stops_when_told_draws_again_and_drains(tmp_path: Path) -> None:
    model = ensure(["sdxl"])["sdxl"]
    async with running("sdxl_service", model, tmp_path) as (process, channel):
        check_pictures(process, await draw(channel, config=SMALL))
        await cancel_while_denoising(channel)
        again = await draw(channel, id="again", prompt=SECRET, config=SMALL)
        assert again.metadata.model_used == "atelier-small-sdxl"
        assert {key.split("/")[1] for key in process.files()} == {"sdxl_image_high_1734567890_abc123", "again"}
        assert await asyncio.to_thread(process.stop) == 0
    assert "job completed" in process.log.read_text()
    assert "sentinel" not in process.log.read_text()


def refusal_to_start(*arguments: str) -> tuple[int, list[str]]:
    command = [sys.executable, "-m", "sdxl_service", "--log-level=warning", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    return ended.returncode, ended.stderr.splitlines()


def test_a_model_that_is_missing_stops_the_worker_with_one_line(tmp_path: Path) -> None:
    status, lines = refusal_to_start(f"--model={tmp_path}/nowhere", f"--assets={tmp_path.as_uri()}")
    assert status == 1
    assert [line.startswith(f"{tmp_path}/nowhere: ") for line in lines] == [True]


def test_a_worker_without_a_model_names_the_variable(tmp_path: Path) -> None:
    assert refusal_to_start(f"--assets={tmp_path.as_uri()}") == (2, ["ATELIER_MODEL: Field required"])
