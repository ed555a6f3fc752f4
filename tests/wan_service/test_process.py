"""The video worker as a process with a real pipeline: it films, stops when told, films again, and drains."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import imageio_ffmpeg

from atelier.pb.job.v1 import job_pb2
from atelier.pb.wan.v1 import wan_pb2_grpc
from atelier.small_models.cache import ensure
from tests.kit.fake_wan_engine import request
from tests.kit.worker_process import WorkerProcess, running

SMALL = {"width": 128, "height": 96, "frames": 6, "fps": 9}
SECRET = "sentinel-4711 " + "word " * 190
QUICK = {"steps": 2, "guidance_scale": 3.5, "seed": 7}


async def film(channel: grpc.aio.Channel, **changes: Any) -> Any:
    call = wan_pb2_grpc.WanServiceStub(channel).Generate(request(**changes))
    return [event async for event in call][-1].callback


async def cancel_while_denoising(channel: grpc.aio.Channel) -> None:
    slow = request(id="cancelled", config=SMALL, sampling={**QUICK, "steps": 100})
    call = wan_pb2_grpc.WanServiceStub(channel).Generate(slow)
    while (await call.read()).progress.phase != job_pb2.PHASE_DENOISING:
        pass
    call.cancel()


def check_video(process: WorkerProcess, callback: Any) -> None:
    [asset] = callback.assets
    made = asset.metadata
    assert (made.width, made.height, made.frames, made.fps, made.duration) == (128, 96, 6, 9, 6 / 9)
    assert (made.steps, made.guidance_scale, made.seed) == (2, 3.5, 7)
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(process.library / asset.key))
    assert frames == 6


async def test_a_worker_films_stops_when_told_films_again_and_drains(tmp_path: Path) -> None:
    model = ensure(["wan"])["wan"]
    async with running("wan_service", model, tmp_path) as (process, channel):
        check_video(process, await film(channel, config=SMALL, sampling=QUICK))
        await cancel_while_denoising(channel)
        still_of = {"id": "again", "type": "image_fast", "prompt": SECRET, "config": {**SMALL, "frames": 1}}
        still = await film(channel, **still_of, sampling=QUICK)
        assert [asset.key for asset in still.assets] == ["user123/again/image_0.png"]
        assert still.metadata.model_used == "atelier-small-wan"
        assert {key.split("/")[1] for key in process.files()} == {"wan_video_fast_1734567890_def456", "again"}
        assert await asyncio.to_thread(process.stop) == 0
    assert "job completed" in process.log.read_text()
    assert "sentinel" not in process.log.read_text()
