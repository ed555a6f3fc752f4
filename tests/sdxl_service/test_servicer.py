"""The image worker over a real server: what reaches the engine, what comes back, and what is refused."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from atelier.contracts import errors
from atelier.contracts.errors import (
    CapabilityMissing,
    EngineFailed,
    InvalidRequest,
    OutOfMemory,
    ReferenceUnusable,
    from_rpc_error,
)
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2, sdxl_pb2_grpc
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from sdxl_service.config import SdxlConfig
from sdxl_service.engine.interface import ImageRequest, Pictures, Reference
from sdxl_service.servicer import sdxl_worker
from shared import assets, validation
from shared.worker.engine import Phase, Step
from tests.kit.fake_engine import Script
from tests.kit.fake_sdxl_engine import JOB, MODEL, PNG, FakeEngine, draw, request
from tests.kit.servers import Serve

# A picture to start from, as the edge hands it over.
REFERENCE: dict[str, Any] = {
    "metadata": {"reference_strength": 0.5, "reference_type": "style"},
    "references": {"image": {"key": "ann/u/image_0.png", "sha256": "0" * 64, "width": 8, "height": 8}, "denoise": 0.5},
}


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def channel(serve: Serve, engine: FakeEngine, tmp_path: Path) -> grpc.aio.Channel:
    config = SdxlConfig(model="fake", assets=(tmp_path / "user-library").as_uri(), drain_seconds=5)
    return await serve(sdxl_worker(config, lambda on_change: engine), config)


def generate(channel: grpc.aio.Channel, **changes: Any) -> Any:
    return sdxl_pb2_grpc.SdxlServiceStub(channel).Generate(request(**changes))


async def events(call: AsyncIterator[sdxl_pb2.GenerateResponse]) -> list[sdxl_pb2.GenerateResponse]:
    return [event async for event in call]


async def refusal(channel: grpc.aio.Channel, **changes: Any) -> errors.AtelierError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await events(generate(channel, **changes))
    return from_rpc_error(raised.value)


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"prompt": "灯台 (red:1.3)"}, "prompt", "灯台 (red:1.3)"),
        ({"config": {"negative_prompt": ""}}, "negative_prompt", ""),
        ({"config": {"negative_prompt": "blur"}}, "negative_prompt", "blur"),
        ({"config": {"resolution": "256x192"}}, "width", 256),
        ({"config": {"resolution": "256x192"}}, "height", 192),
        ({"config": {"steps": 10}}, "steps", 10),
        ({"config": {"guidance_scale": 1.0}}, "guidance_scale", 1.0),
        ({"config": {"num_images": 1}, "sampling": {"seeds": [0]}}, "seeds", (0,)),
        ({"sampling": {"seeds": [5, 3, 2147483647]}}, "seeds", (5, 3, 2147483647)),
        ({"sampling": {"scheduler": "euler_ancestral"}}, "scheduler", "euler_ancestral"),
        ({"sampling": {"scheduler": "ddim"}}, "scheduler", "ddim"),
        ({"sampling": {"scheduler": "dpmpp_2m"}}, "scheduler", "dpmpp_2m"),
        ({"sampling": {"scheduler": "unipc"}}, "scheduler", "unipc"),
        ({"sampling": {"clip_skip": 2}}, "clip_skip", 2),
        ({}, "model", "lustify_sdxl"),
        ({}, "weighted", False),
        ({}, "reference", None),
    ],
)
async def test_every_field_reaches_the_engine(
    channel: grpc.aio.Channel, engine: FakeEngine, changes: dict[str, Any], field: str, value: object
) -> None:
    await events(generate(channel, **changes))
    assert getattr(engine.requests[0], field) == value


@pytest.fixture
def able(engine: FakeEngine) -> FakeEngine:
    """An engine that weighs words and starts from pictures."""
    engine.model = replace(MODEL, capabilities=("compel", "reference_style", "reference_composition"))
    return engine


def handed_over(folder: Path, content: bytes, kind: str = "composition") -> dict[str, Any]:
    """What a job says of a picture that the edge has put into the store."""
    file = folder / "user-library/ann/u/image_0.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    image = REFERENCE["references"]["image"] | {"sha256": hashlib.sha256(content).hexdigest()}
    return {
        "metadata": {"reference_strength": 0.75, "reference_type": kind},
        "references": {"image": image, "denoise": 0.25},
    }


async def test_weights_reach_the_engine_and_the_callback_says_that_they_were_applied(
    able: FakeEngine, channel: grpc.aio.Channel
) -> None:
    callback = (await events(generate(channel, compel_enabled=True, compel_weights="(red:1.3)")))[-1].callback
    assert (able.requests[0].weighted, able.requests[0].weights) == (True, "(red:1.3)")
    assert callback.metadata.compel_enhancement
    assert (await events(generate(channel, compel_enabled=True)))[-1].HasField("callback")
    assert (able.requests[1].weighted, able.requests[1].weights) == (True, "")


@pytest.mark.parametrize("kind", ["composition", "style"])
async def test_a_reference_reaches_the_engine_and_the_callback_says_how_it_was_used(
    able: FakeEngine, channel: grpc.aio.Channel, tmp_path: Path, kind: str
) -> None:
    callback = (await events(generate(channel, **handed_over(tmp_path, b"a picture", kind))))[-1].callback
    assert able.requests[0].reference == Reference(b"a picture", 0.25, kind)
    mode = sdxl_pb2.SdxlReferenceMode.Name(callback.metadata.reference_mode)
    assert mode == f"SDXL_REFERENCE_MODE_{kind.upper()}"


async def test_a_reference_that_is_gone_or_another_is_refused(
    able: FakeEngine, channel: grpc.aio.Channel, tmp_path: Path
) -> None:
    reference = handed_over(tmp_path, b"a picture")
    file = tmp_path / "user-library/ann/u/image_0.png"
    file.write_bytes(b"another picture")
    refused = await refusal(channel, **reference)
    assert isinstance(refused, ReferenceUnusable)
    assert refused.message == "job.references.image: this is not the picture that the edge has checked"
    file.unlink()
    refused = await refusal(channel, **reference)
    assert isinstance(refused, ReferenceUnusable)
    assert refused.message == "job.references.image: this picture is not in the asset store"
    assert able.requests == []


async def test_the_stream_is_progress_and_then_one_callback(channel: grpc.aio.Channel) -> None:
    *progress, last = await events(generate(channel))
    assert last.WhichOneof("event") == "callback"
    phases = [job_pb2.Phase.Name(event.progress.phase).removeprefix("PHASE_") for event in progress]
    assert phases == ["ENCODING", "DENOISING", "DENOISING", "DECODING", "STORING"]
    assert (progress[2].progress.step, progress[2].progress.total_steps) == (11, 11)
    for event in (*progress, last):
        validation.check(event)


async def test_the_callback_says_what_ran_and_not_what_was_asked(channel: grpc.aio.Channel) -> None:
    callback = (await events(generate(channel)))[-1].callback
    assert (callback.job_id, callback.worker_id) == (JOB["id"], "sdxl_worker_001")
    assert callback.status == job_pb2.JOB_STATUS_COMPLETED
    assert [asset.metadata.seed for asset in callback.assets] == [107, 108, 109]
    for asset in callback.assets:
        made = asset.metadata
        assert (made.width, made.height, made.steps, made.guidance_scale, made.batch_size) == (96, 72, 11, 3.5, 3)
        assert (asset.type, made.format, made.mime_type) == (job_pb2.ASSET_TYPE_IMAGE, "png", "image/png")
    made = callback.metadata
    assert (made.vram_used, made.model_used, made.compel_enhancement) == (4321, "fake-sdxl", False)
    assert made.reference_mode == sdxl_pb2.SDXL_REFERENCE_MODE_NONE
    assert 0 < made.processing_time < 10


async def test_what_only_the_edge_knows_is_left_to_it(channel: grpc.aio.Channel) -> None:
    callback = (await events(generate(channel)))[-1].callback
    assert callback.metadata.enhancement_source == job_pb2.ENHANCEMENT_SOURCE_UNSPECIFIED
    assert {asset.url for asset in callback.assets} == {""}
    assert not callback.HasField("error")


async def test_the_stored_files_are_those_of_the_callback(channel: grpc.aio.Channel, tmp_path: Path) -> None:
    callback = (await events(generate(channel)))[-1].callback
    folder = f"user123/{JOB['id']}"
    assert [asset.key for asset in callback.assets] == [f"{folder}/image_{i}.png" for i in range(3)]
    assert files_under(tmp_path / "user-library") == [asset.key for asset in callback.assets]
    for seed, asset in zip((7, 8, 9), callback.assets, strict=True):
        data = (tmp_path / "user-library" / asset.key).read_bytes()
        assert data == PNG + bytes([seed])
        assert (asset.metadata.bytes, asset.metadata.sha256) == (len(data), hashlib.sha256(data).hexdigest())


async def test_attempts_share_no_file(channel: grpc.aio.Channel, tmp_path: Path) -> None:
    for attempt in (0, 2):
        asked = request()
        asked.attempt = attempt
        await events(sdxl_pb2_grpc.SdxlServiceStub(channel).Generate(asked))
    folders = {key.rpartition("/")[0] for key in files_under(tmp_path / "user-library")}
    assert folders == {f"user123/{JOB['id']}", f"user123/{JOB['id']}.2"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"compel_enabled": True}, "job.compel_enabled"),
        ({"metadata": {"reference_type": "style"}}, "job.metadata.reference_type"),
        (REFERENCE, "job.metadata.reference_type"),
    ],
)
async def test_an_ability_the_model_lacks_is_refused_and_never_ignored(
    channel: grpc.aio.Channel, engine: FakeEngine, changes: dict[str, Any], field: str
) -> None:
    refused = await refusal(channel, **changes)
    assert isinstance(refused, CapabilityMissing)
    assert refused.message.startswith(f"{field}: fake-sdxl cannot do ")
    assert engine.requests == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metadata": {"reference_image_url": "https://example.com/a.png"}}, "a worker fetches nothing"),
        ({"metadata": {"reference_image_url": "ann/upload/image_0.png"}}, "a worker fetches nothing"),
        (REFERENCE | {"metadata": {"reference_type": "style"}}, "go together"),
        (REFERENCE | {"metadata": {"reference_strength": 0.5}}, "go together"),
        (REFERENCE | {"references": {"denoise": 0.5}}, "go together"),
        (REFERENCE | {"references": {"image": REFERENCE["references"]["image"]}}, "go together"),
    ],
)
async def test_a_reference_that_the_edge_has_not_fetched_is_refused(
    channel: grpc.aio.Channel, engine: FakeEngine, changes: dict[str, Any], says: str
) -> None:
    refused = await refusal(channel, **changes)
    assert isinstance(refused, InvalidRequest)
    assert says in refused.message
    assert engine.requests == []


async def test_weights_that_would_have_no_effect_are_refused(channel: grpc.aio.Channel, engine: FakeEngine) -> None:
    refused = await refusal(channel, compel_weights="(red:1.3)")
    assert isinstance(refused, InvalidRequest)
    assert "job.compel_weights: have no effect unless compel_enabled is true" in refused.message
    assert engine.requests == []


async def test_compel_that_is_off_is_no_ability(channel: grpc.aio.Channel) -> None:
    assert await events(generate(channel, compel_enabled=False, metadata={"reference_strength": 0.0}))


@pytest.mark.parametrize(
    ("resolution", "says"),
    [
        ("100x64", "both sides must be multiples of 8, got 100x64"),
        ("64x68", "both sides must be multiples of 8, got 64x68"),
        ("56x64", "both sides must be 64 to 4096, without leading zeros, got '56x64'"),
        ("0x0", "both sides must be 64 to 4096, without leading zeros, got '0x0'"),
        ("1024x1032", "width x height must be at most 1048576 pixels, got 1024x1032"),
        ("4096x4096", "width x height must be at most 1048576 pixels, got 4096x4096"),
    ],
)
async def test_a_size_the_model_cannot_make_is_refused(
    channel: grpc.aio.Channel, engine: FakeEngine, resolution: str, says: str
) -> None:
    refused = await refusal(channel, config={"resolution": resolution})
    assert isinstance(refused, InvalidRequest)
    assert [(v.field, v.description) for v in refused.violations] == [("job.config.resolution", says)]
    assert engine.requests == []


async def test_a_bound_of_the_contract_is_refused_by_name(channel: grpc.aio.Channel, engine: FakeEngine) -> None:
    refused = await refusal(channel, config={"steps": 51, "num_images": 4})
    assert isinstance(refused, InvalidRequest)
    assert {violation.field for violation in refused.violations} >= {"job.config.steps", "job.config.num_images"}
    assert engine.requests == []


def failing(error: Callable[[ImageRequest], Exception]) -> Script:
    async def act(request: ImageRequest) -> AsyncGenerator[Step | Pictures, None]:
        yield Step(Phase.ENCODING)
        raise error(request)

    return act


async def test_an_error_of_the_engine_hides_its_text_and_the_next_job_runs(
    channel: grpc.aio.Channel, engine: FakeEngine
) -> None:
    engine.act = failing(lambda request: ValueError(f"cannot draw {request.prompt}"))
    refused = await refusal(channel)
    assert isinstance(refused, EngineFailed)
    assert "lighthouse" not in refused.message
    engine.act = draw
    assert (await events(generate(channel)))[-1].HasField("callback")


@pytest.mark.parametrize(
    ("raised", "field"),
    [
        ("clip_skip", "job.sampling.clip_skip"),
        ("scheduler", "job.sampling.scheduler"),
        ("prompt", "job.prompt"),
        ("negative_prompt", "job.config.negative_prompt"),
        ("weights", "job.compel_weights"),
        ("denoise", "job.references.denoise"),
    ],
)
async def test_what_only_the_engine_can_refuse_names_the_field_of_the_request(
    channel: grpc.aio.Channel, engine: FakeEngine, raised: str, field: str
) -> None:
    engine.act = failing(lambda request: InvalidRequest(errors.Violation(raised, "too much for this model")))
    refused = await refusal(channel)
    assert isinstance(refused, InvalidRequest)
    assert [violation.field for violation in refused.violations] == [field]


async def test_too_little_memory_is_said_as_such(channel: grpc.aio.Channel, engine: FakeEngine) -> None:
    engine.act = failing(lambda request: OutOfMemory("3 images of 128x64 do not fit"))
    assert isinstance(await refusal(channel), OutOfMemory)


async def test_a_store_that_cannot_be_written_is_said_as_such(
    channel: grpc.aio.Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "UPLOAD_WAITS", (0.01,))
    (tmp_path / "user-library/user123").write_bytes(b"in the way")
    assert isinstance(await refusal(channel), errors.StorageUnavailable)
    assert files_under(tmp_path / "user-library") == ["user123"]


async def test_the_worker_describes_the_model_it_loaded(channel: grpc.aio.Channel) -> None:
    stub = worker_pb2_grpc.WorkerServiceStub(channel)
    described = (await stub.Describe(worker_pb2.DescribeRequest())).worker
    assert (described.worker_id, described.worker_type) == ("sdxl_worker_001", "sdxl")
    assert list(described.job_types) == ["sdxl_image_fast", "sdxl_image_high"]
    assert (described.device, described.dtype, described.slots) == ("cpu", "float32", 1)
    [model] = described.models
    assert (model.name, model.real_name, list(model.capabilities)) == ("lustify_sdxl", "fake-sdxl", [])
    assert (model.size_multiple, model.min_side, model.max_pixels) == (8, 64, 1024 * 1024)
    status = await stub.WatchStatus(worker_pb2.WatchStatusRequest()).read()
    assert (status.accepting, status.free_slots, list(status.loaded_models)) == (True, 1, ["lustify_sdxl"])
    assert (status.device_memory_used_mb, status.device_memory_total_mb) == (7, 80)


async def test_logs_hold_no_content(
    channel: grpc.aio.Channel, engine: FakeEngine, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    secret = {"prompt": "sentinel-1", "config": {"negative_prompt": "sentinel-2"}}
    await events(generate(channel, **secret))
    for wrong in ({"config": {"resolution": "1x1"}}, {"compel_enabled": True}, {"config": {"steps": 1}}):
        await refusal(channel, **{**secret, **wrong, "prompt": "sentinel-3"})
    printed = capfd.readouterr()
    assert "job completed" in caplog.text
    assert "sentinel" not in str([vars(record) for record in caplog.records]) + printed.out + printed.err
