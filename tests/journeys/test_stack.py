"""The whole stack, nothing faked: edge, PostgreSQL, three workers with the small models, asset store, client."""

import asyncio
import contextlib
import io
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from PIL import Image

from atelier.client import AsyncClient
from atelier.errors import InvalidRequest
from atelier.events import Progressed
from atelier.launcher.programs import Plan
from atelier.launcher.stack import opened
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.results import File

SMALL = {"resolution": "256x256", "steps": 10, "type": "sdxl_image_fast"}


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AsyncClient]:
    plan = Plan(Path(tmp_path_factory.mktemp("stack")))
    async with opened(plan, lambda name, line: None) as stack, stack.client() as client:
        yield client


def played(file: File, folder: Path) -> tuple[int, dict[str, Any]]:
    """How many frames a video really has, and what its container says."""
    path = str(file.save(folder / file.name))
    with contextlib.closing(imageio_ffmpeg.read_frames(path)) as reader:
        says = next(reader)
    return imageio_ffmpeg.count_frames_and_secs(path)[0], says


def faststart(data: bytes) -> bool:
    """Whether the index comes before the pictures, so that a browser plays while it loads."""
    return 0 < data.find(b"moov") < data.find(b"mdat")


def fetched(url: str) -> tuple[bytes, str]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read(), answer.headers["content-type"]


async def test_three_images_are_real_and_tell_what_they_are(client: AsyncClient):
    files = await client.image("a red fox", num_images=3, seed=5, **SMALL)
    assert [file.metadata["seed"] for file in files] == [5, 6, 7]
    for file in files:
        picture = Image.open(io.BytesIO(file.bytes()))
        assert (picture.format, picture.size) == ("PNG", (256, 256))
        assert (file.metadata["width"], file.metadata["steps"], file.metadata["bytes"]) == (256, 10, len(file.bytes()))
        assert len(picture.getcolors(2**24) or []) > 100
    assert len({file.bytes() for file in files}) == 3


async def test_an_image_of_a_batch_can_be_made_again_alone(client: AsyncClient):
    batch = await client.image("a red fox", num_images=3, seed=5, **SMALL)
    alone = await client.image("a red fox", seed=6, **SMALL)
    one, other = (Image.open(io.BytesIO(file.bytes())).convert("RGB") for file in (batch[1], alone[0]))
    assert max(abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True)) <= 2


async def test_an_image_starts_from_a_picture_and_heeds_weights(client: AsyncClient, tmp_path: Path):
    start = tmp_path / "start.jpg"
    Image.new("RGB", (300, 200), (200, 40, 40)).save(start)
    asked = SMALL | {"reference_image_url": str(start), "seed": 5}
    [weighted] = await client.image("a red fox", reference_strength=0.7, compel_weights="(red:1.4)", **asked)
    ran = (await client.jobs(1))[0].callback
    [plain] = await client.image("a red fox", reference_strength=0.7, **asked)
    [free] = await client.image("a red fox", seed=5, **SMALL)
    assert isinstance(ran, sdxl_pb2.SdxlCallback)
    assert ran.metadata.compel_enhancement
    assert ran.metadata.reference_mode == sdxl_pb2.SDXL_REFERENCE_MODE_COMPOSITION
    assert [image.metadata["steps"] for image in (weighted, plain, free)] == [3, 3, 10]
    assert len({image.bytes() for image in (weighted, plain, free)}) == 3


async def test_progress_counts_the_steps_and_estimates_the_rest(client: AsyncClient):
    job = client.image("a red fox", steps=30, resolution="512x512", type="sdxl_image_fast")
    progress = [event async for event in job if isinstance(event, Progressed)]
    steps = [(event.step, event.total_steps) for event in progress if event.phase == "denoising"]
    assert steps == sorted(steps)
    assert steps[-1] == (30, 30)
    assert any(event.remaining_seconds is not None for event in progress)


# imageio-ffmpeg leaves the closing of its pipes to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("frames", "fps"), [(1, 8), (2, 24), (7, 15)])
async def test_a_video_has_exactly_the_frames_and_the_speed_asked_for(
    client: AsyncClient, tmp_path: Path, frames: int, fps: int
):
    [file] = await client.video("waves", frames=frames, fps=fps, width=128, height=64, steps=2)
    count, says = played(file, tmp_path)
    assert (count, says["fps"], says["size"]) == (frames, fps, (128, 64))
    assert says["codec"] == "h264"
    assert "yuv420p" in says["pix_fmt"]
    assert faststart(file.bytes())
    found = file.metadata
    assert (found["frames"], found["fps"], found["format"]) == (frames, fps, "mp4")
    assert found["duration"] == pytest.approx(frames / fps)


async def test_a_still_of_the_video_model_is_a_png(client: AsyncClient):
    [file] = await client.video("waves", type="image_fast", width=128, height=64, steps=2)
    assert (file.type, Image.open(io.BytesIO(file.bytes())).format) == ("image", "PNG")
    assert "fps" not in file.metadata


async def test_a_chat_answers_with_the_model_it_says(client: AsyncClient):
    answer = await client.chat("What is the capital of France?", temperature=0.0, max_tokens=100)
    assert "Paris" in answer.text
    assert answer.model == "SmolLM2-135M-Instruct"
    assert (await client.job(answer.job_id)).status == "completed"


async def test_a_url_serves_the_bytes_that_a_download_does(client: AsyncClient):
    [file] = await client.image("a red fox", **SMALL)
    data, kind = await asyncio.to_thread(fetched, file.url)
    assert (data, kind) == (file.bytes(), "image/png")


async def test_a_cancelled_job_leaves_nothing_and_frees_the_worker(client: AsyncClient):
    job = client.image("a red fox", steps=50, resolution="1024x1024", type="sdxl_image_fast")
    async for event in job:
        if isinstance(event, Progressed) and event.step >= 1:
            break
    job_id = (await job.submitted()).id
    assert (await client.cancel(job_id)).status == "cancelled"
    [file] = await client.image("a red fox", **SMALL)
    assert (await client.job(job_id)).assets == []
    assert file.metadata["steps"] == 10


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda client: client.image("a", resolution="100x64"), "config.resolution"),
        (lambda client: client.video("a", width=100, height=64), "config"),
    ],
)
async def test_a_size_the_models_cannot_do_is_refused_before_it_is_stored(client: AsyncClient, ask, field):
    before = await client.jobs(100)
    with pytest.raises(InvalidRequest, match=f"^{field}: both sides must be multiples of"):
        await ask(client)
    assert len(await client.jobs(100)) == len(before)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_the_default_image_and_the_default_video_are_what_the_presets_say(client: AsyncClient, tmp_path: Path):
    [image] = await client.image("a red fox")
    assert Image.open(io.BytesIO(image.bytes())).size == (1024, 1024)
    assert (image.metadata["steps"], image.metadata["guidance_scale"]) == (25, 7.5)
    [video] = await client.video("a red fox")
    count, says = played(video, tmp_path)
    assert (count, says["fps"], says["size"]) == (83, 24, (480, 832))
    assert (video.metadata["steps"], video.metadata["duration"]) == (25, pytest.approx(83 / 24))
