"""The video worker over a real server: what reaches the engine, what comes back, and what is refused."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from atelier.contracts import errors
from atelier.contracts.errors import CapabilityMissing, EngineFailed, InvalidRequest, OutOfMemory, from_rpc_error
from atelier.contracts.validation import enum_words
from atelier.pb.job.v1 import job_pb2
from atelier.pb.wan.v1 import wan_pb2, wan_pb2_grpc
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from shared import validation
from shared.worker.engine import Phase, Step
from tests.kit.fake_wan_engine import JOB, MP4, PNG, FakeEngine, film, request
from tests.kit.servers import Serve
from wan_service.config import WanConfig
from wan_service.engine.interface import VideoRequest, VideoResult
from wan_service.servicer import wan_worker

STILL = {"type": "image_fast", "config": {"frames": 1}}


def with_references(mode: str, *places: str) -> dict[str, Any]:
    """What steers a video by pictures, as the edge hands them over."""
    picture = {"key": "ann/u/image_0.png", "sha256": "0" * 64, "width": 8, "height": 8}
    return {
        "config": {"reference_mode": mode},
        "metadata": {"reference_strength": 0.5},
        "references": dict.fromkeys(places, picture),
    }


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def channel(serve: Serve, engine: FakeEngine, tmp_path: Path) -> grpc.aio.Channel:
    config = WanConfig(model="fake", assets=(tmp_path / "user-library").as_uri(), drain_seconds=5)
    return await serve(wan_worker(config, lambda on_change: engine), config)


def generate(channel: grpc.aio.Channel, **changes: Any) -> Any:
    return wan_pb2_grpc.WanServiceStub(channel).Generate(request(**changes))


async def events(call: AsyncIterator[wan_pb2.GenerateResponse]) -> list[wan_pb2.GenerateResponse]:
    return [event async for event in call]


async def refusal(channel: grpc.aio.Channel, **changes: Any) -> errors.AtelierError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await events(generate(channel, **changes))
    return from_rpc_error(raised.value)


def jobs_with_files(folder: Path) -> list[str]:
    return [path.parent.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"prompt": "海 waves"}, "prompt", "海 waves"),
        ({"config": {"width": 832}}, "width", 832),
        ({"config": {"height": 480}}, "height", 480),
        ({"config": {"frames": 83}}, "frames", 83),
        ({"config": {"frames": 2}}, "frames", 2),
        ({"config": {"fps": 8}}, "fps", 8),
        ({"sampling": {"steps": 1}}, "steps", 1),
        ({"sampling": {"guidance_scale": 1.0}}, "guidance_scale", 1.0),
        ({"sampling": {"flow_shift": 3.0}}, "flow_shift", 3.0),
        ({"sampling": {"seed": 0}}, "seed", 0),
        ({"sampling": {"seed": 2147483647}}, "seed", 2147483647),
        ({"sampling": {"negative_prompt": ""}}, "negative_prompt", ""),
        ({}, "model", "wan_2.1"),
    ],
)
async def test_every_field_reaches_the_engine(
    channel: grpc.aio.Channel, engine: FakeEngine, changes: dict[str, Any], field: str, value: object
) -> None:
    await events(generate(channel, **changes))
    assert getattr(engine.requests[0], field) == value


@pytest.mark.parametrize("word", enum_words(wan_pb2.WanJobType.DESCRIPTOR))
async def test_an_image_type_is_a_still_and_a_video_type_is_none(
    channel: grpc.aio.Channel, engine: FakeEngine, word: str
) -> None:
    callback = (await events(generate(channel, type=word, config={"frames": 1})))[-1].callback
    still = word.startswith("image")
    assert engine.requests[0].still == still
    assert callback.assets[0].type == (job_pb2.ASSET_TYPE_IMAGE if still else job_pb2.ASSET_TYPE_VIDEO)


async def test_the_stream_is_progress_and_then_one_callback(channel: grpc.aio.Channel) -> None:
    *progress, last = await events(generate(channel))
    assert last.WhichOneof("event") == "callback"
    phases = [job_pb2.Phase.Name(event.progress.phase).removeprefix("PHASE_") for event in progress]
    assert phases == ["ENCODING", "DENOISING", "DENOISING", "DECODING", "STORING"]
    for event in (*progress, last):
        validation.check(event)


async def test_the_callback_of_a_video_says_what_ran_and_not_what_was_asked(channel: grpc.aio.Channel) -> None:
    callback = (await events(generate(channel)))[-1].callback
    assert (callback.job_id, callback.worker_id) == (JOB["id"], "wan_worker_001")
    assert callback.status == job_pb2.JOB_STATUS_COMPLETED
    [asset] = callback.assets
    made = asset.metadata
    assert (made.width, made.height, made.frames, made.fps, made.duration) == (96, 112, 17, 8, 17 / 8)
    assert (made.steps, made.guidance_scale, made.seed) == (9, 2.5, 100)
    assert (asset.type, made.format, made.mime_type) == (job_pb2.ASSET_TYPE_VIDEO, "mp4", "video/mp4")
    assert (callback.metadata.vram_used, callback.metadata.model_used) == (4321, "fake-wan")
    assert callback.metadata.reference_mode == wan_pb2.WAN_REFERENCE_MODE_NONE
    assert 0 < callback.metadata.processing_time < 10


async def test_the_callback_of_a_still_has_no_rate_and_no_duration(channel: grpc.aio.Channel) -> None:
    [asset] = (await events(generate(channel, **STILL)))[-1].callback.assets
    made = asset.metadata
    assert (asset.type, made.format, made.mime_type) == (job_pb2.ASSET_TYPE_IMAGE, "png", "image/png")
    assert (made.width, made.height, made.frames) == (64, 80, 1)
    assert not made.HasField("fps")
    assert not made.HasField("duration")


async def test_what_only_the_edge_knows_is_left_to_it(channel: grpc.aio.Channel) -> None:
    callback = (await events(generate(channel)))[-1].callback
    assert callback.metadata.enhancement_source == job_pb2.ENHANCEMENT_SOURCE_UNSPECIFIED
    assert not callback.metadata.HasField("auto_enhancement")
    assert callback.assets[0].url == ""


@pytest.mark.parametrize(("changes", "name", "data"), [({}, "video_0.mp4", MP4), (STILL, "image_0.png", PNG)])
async def test_the_stored_file_is_that_of_the_callback(
    channel: grpc.aio.Channel, tmp_path: Path, changes: dict[str, Any], name: str, data: bytes
) -> None:
    [asset] = (await events(generate(channel, **changes)))[-1].callback.assets
    assert asset.key == f"user123/{JOB['id']}/{name}"
    assert (tmp_path / "user-library" / asset.key).read_bytes() == data
    assert (asset.metadata.bytes, asset.metadata.sha256) == (len(data), hashlib.sha256(data).hexdigest())


async def test_attempts_share_no_file(channel: grpc.aio.Channel, tmp_path: Path) -> None:
    for attempt in (0, 2):
        asked = request()
        asked.attempt = attempt
        await events(wan_pb2_grpc.WanServiceStub(channel).Generate(asked))
    assert sorted(jobs_with_files(tmp_path)) == [JOB["id"], f"{JOB['id']}.2"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (with_references("single", "first"), "job.config.reference_mode"),
        (with_references("start", "first"), "job.config.reference_mode"),
        (with_references("end", "last"), "job.config.reference_mode"),
        (with_references("both", "first", "last"), "job.config.reference_mode"),
    ],
)
async def test_an_ability_the_model_lacks_is_refused_and_never_ignored(
    channel: grpc.aio.Channel, engine: FakeEngine, changes: dict[str, Any], field: str
) -> None:
    refused = await refusal(channel, **changes)
    assert isinstance(refused, CapabilityMissing)
    assert refused.message.startswith(f"{field}: fake-wan cannot do reference_")
    assert engine.requests == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"config": {"image": "key"}}, "a worker fetches nothing"),
        ({"config": {"first_frame": "key"}}, "a worker fetches nothing"),
        ({"config": {"last_frame": "key"}}, "a worker fetches nothing"),
        ({"metadata": {"reference_image_url": "https://a/b.png"}}, "a worker fetches nothing"),
        ({"metadata": {"start_reference_url": "https://a/b.png"}}, "a worker fetches nothing"),
        ({"metadata": {"end_reference_url": "https://a/b.png"}}, "a worker fetches nothing"),
        (with_references("single"), "first in modes single and start"),
        (with_references("none", "first"), "first in modes single and start"),
        (with_references("both", "first"), "first in modes single and start"),
        (with_references("start", "first", "last"), "first in modes single and start"),
        (with_references("single", "first") | {"metadata": {}}, "first in modes single and start"),
    ],
)
async def test_a_reference_that_the_edge_has_not_fetched_is_refused(
    channel: grpc.aio.Channel, engine: FakeEngine, changes: dict[str, Any], says: str
) -> None:
    refused = await refusal(channel, **changes)
    assert isinstance(refused, InvalidRequest)
    assert says in refused.message
    assert engine.requests == []


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ({"width": 472}, "both sides must be multiples of 16, got 472x832"),
        ({"height": 840}, "both sides must be multiples of 16, got 480x840"),
        ({"width": 48}, "both sides must be at least 64, got 48x832"),
        ({"width": 1280, "height": 736}, "width x height must be at most 921600 pixels, got 1280x736"),
    ],
)
async def test_a_size_the_model_cannot_make_is_refused(
    channel: grpc.aio.Channel, engine: FakeEngine, size: dict[str, int], says: str
) -> None:
    refused = await refusal(channel, config=size)
    assert isinstance(refused, InvalidRequest)
    assert [violation.description for violation in refused.violations] == [says]
    assert engine.requests == []


async def test_errors_of_the_engine_are_typed_and_the_next_job_runs(
    channel: grpc.aio.Channel, engine: FakeEngine
) -> None:
    outcomes: list[tuple[Exception, type[errors.AtelierError]]] = [
        (ValueError("cannot film waves"), EngineFailed),
        (OutOfMemory("83 frames do not fit"), OutOfMemory),
        (InvalidRequest(errors.Violation("frames", "too many")), InvalidRequest),
    ]
    for raised, kind in outcomes:

        async def fail(wanted: VideoRequest, raised: Exception = raised) -> AsyncGenerator[Step | VideoResult, None]:
            yield Step(Phase.ENCODING)
            raise raised

        engine.act = fail
        refused = await refusal(channel)
        assert type(refused) is kind
        assert "waves" not in refused.message
    assert "job.config.frames: too many" in refused.message
    engine.act = film
    assert (await events(generate(channel)))[-1].HasField("callback")


async def test_cancelling_stops_the_engine_within_a_step_and_leaves_no_file(
    channel: grpc.aio.Channel, engine: FakeEngine, tmp_path: Path
) -> None:
    steps, ended = 0, asyncio.Event()

    async def endless(wanted: VideoRequest) -> AsyncGenerator[Step | VideoResult, None]:
        nonlocal steps
        try:
            while True:
                steps += 1
                yield Step(Phase.DENOISING, steps, 1000)
                await asyncio.sleep(0.02)
        finally:
            ended.set()

    engine.act = endless
    call = generate(channel)
    await call.read()
    call.cancel()
    engine.act = film
    assert (await events(generate(channel, id="wan_second")))[-1].HasField("callback")
    assert ended.is_set()
    assert steps < 10
    assert jobs_with_files(tmp_path) == ["wan_second"]


async def test_the_worker_describes_the_model_it_loaded(channel: grpc.aio.Channel) -> None:
    stub = worker_pb2_grpc.WorkerServiceStub(channel)
    described = (await stub.Describe(worker_pb2.DescribeRequest())).worker
    assert (described.worker_id, described.worker_type, described.slots) == ("wan_worker_001", "wan", 1)
    assert list(described.job_types) == [
        "image_fast", "image_high", "video_fast", "video_high", "image7b_fast_enhanced", "image7b_high_enhanced",
        "video7b_fast_enhanced", "video7b_high_enhanced",
    ]  # fmt: skip
    [model] = described.models
    assert (model.name, model.real_name, list(model.capabilities)) == ("wan_2.1", "fake-wan", [])
    assert (model.size_multiple, model.min_side, model.max_pixels) == (16, 64, 1280 * 720)
