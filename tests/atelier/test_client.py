"""The asynchronous client against a real server at the edge's contract."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

import atelier
from atelier import errors, watching
from atelier.client import AsyncClient
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from tests.kit.scripted_edge import ANSWER, JOB_ID, KEY, PNG, TOKEN, Script, ScriptedEdge, stored_image


def estimate_of(seconds: int) -> edge_pb2.Estimate:
    """Starts so many seconds from now, between a half and three times that, and takes 20 seconds."""
    now, estimate = int(time.time()), edge_pb2.Estimate(samples=12)
    for name, begin in (("start", 0), ("finish", 20)):
        getattr(estimate, name).seconds = now + begin + seconds
        getattr(estimate, f"{name}_earliest").seconds = now + begin + seconds // 2
        getattr(estimate, f"{name}_latest").seconds = now + begin + 3 * seconds
    return estimate


@pytest.fixture
async def client(edge: ScriptedEdge) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(edge.address, TOKEN) as client:
        yield client


async def test_a_handle_is_printed_before_and_after_it_was_submitted(client: AsyncClient, script: Script) -> None:
    handle = client.image("a red fox")
    assert repr(handle) == "JobHandle(not submitted yet)"
    await handle.submitted()
    assert repr(handle) == f"JobHandle(id='{JOB_ID}')"
    script.refusals = [errors.QueueFull("full")]
    refused = client.image("a red fox")
    with pytest.raises(errors.QueueFull):
        await refused
    assert repr(refused) == "JobHandle(not submitted)"


async def test_an_image_is_submitted_followed_and_downloaded(client: AsyncClient, script: Script) -> None:
    handle = client.image("a red fox", steps=25, num_images=3, resolution="1024x1024")
    events = [event async for event in handle]
    [image] = await handle
    assert [event.sequence for event in events] == list(range(1, 8))
    assert [type(event).__name__ for event in events] == ["StatusChanged"] * 2 + ["Progressed"] * 4 + ["Ended"]
    assert image.bytes() == PNG
    assert image.type == "image"
    assert image.metadata["seed"] == 0


async def test_every_option_of_an_image_is_in_the_job(client: AsyncClient, script: Script) -> None:
    await client.image(
        "a red fox",
        type="sdxl_image_fast",
        num_images=6,
        steps=12,
        guidance_scale=6.5,
        resolution="832x1216",
        seed=0,
        negative_prompt="",
        scheduler="dpmpp_2m",
        clip_skip=2,
        compel_enabled=True,
        compel_weights="(fog)0.5",
        reference_image_url="developer/upload_1/image_0.png",
        reference_strength=0.0,
        reference_type="character",
        reference_use="modify",
    )
    job = script.submitted[0].sdxl
    assert job.type == sdxl_pb2.SDXL_JOB_TYPE_SDXL_IMAGE_FAST
    assert job.config == sdxl_pb2.SdxlConfig(
        num_images=6, steps=12, guidance_scale=6.5, resolution="832x1216", seed=0, negative_prompt=""
    )
    assert job.config.HasField("seed")
    assert job.sampling == sdxl_pb2.SdxlSampling(scheduler=sdxl_pb2.SDXL_SCHEDULER_DPMPP_2M, clip_skip=2)
    assert (job.compel_enabled, job.compel_weights) == (True, "(fog)0.5")
    assert job.metadata.reference_image_url == "developer/upload_1/image_0.png"
    assert job.metadata.HasField("reference_strength")
    assert job.metadata.reference_type == sdxl_pb2.REFERENCE_TYPE_CHARACTER
    assert script.submitted[0].reference_use == edge_pb2.REFERENCE_USE_MODIFY


async def test_what_is_not_given_is_left_to_the_edge(client: AsyncClient, script: Script) -> None:
    await client.image("a red fox")
    assert script.submitted[0].sdxl == sdxl_pb2.SdxlJob(type=sdxl_pb2.SDXL_JOB_TYPE_SDXL_IMAGE_HIGH, prompt="a red fox")


async def test_every_option_of_a_video_is_in_the_job(client: AsyncClient, script: Script) -> None:
    await client.video(
        "waves",
        type="video_high",
        width=480,
        height=832,
        frames=83,
        fps=24,
        steps=30,
        guidance_scale=7.0,
        flow_shift=3.0,
        seed=5,
        negative_prompt="blur",
        reference_mode="both",
        first_frame="developer/upload_1/image_0.png",
        last_frame="https://example.com/b.png",
        reference_strength=0.3,
    )
    job = script.submitted[0].wan
    assert (job.config.first_frame, job.config.last_frame) == (
        "developer/upload_1/image_0.png",
        "https://example.com/b.png",
    )
    assert (job.config.reference_mode, job.metadata.reference_strength) == (wan_pb2.WAN_REFERENCE_MODE_BOTH, 0.3)
    assert (job.config.width, job.config.height, job.config.frames, job.config.fps) == (480, 832, 83, 24)
    assert (job.sampling.steps, job.sampling.guidance_scale, job.sampling.flow_shift) == (30, 7.0, 3.0)
    assert (job.sampling.seed, job.sampling.negative_prompt) == (5, "blur")


def test_a_misspelt_option_is_refused_by_name(edge: ScriptedEdge) -> None:
    with atelier.Client(edge.address, TOKEN) as client, pytest.raises(TypeError, match=r"'stepz'; known: .*steps"):
        client.image("a red fox", stepz=25)  # type: ignore[call-arg]


async def test_a_job_is_under_way_before_anything_is_awaited(client: AsyncClient, script: Script) -> None:
    handle = client.image("a red fox")
    assert await asyncio.to_thread(script.arrived.wait, 5)
    await handle


async def test_a_value_out_of_range_comes_back_as_the_violation(client: AsyncClient) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        await client.image("a red fox", steps=7)
    assert caught.value.violations[0].field == "sdxl.config.steps"


async def test_a_job_that_failed_raises_its_reason(client: AsyncClient, script: Script) -> None:
    script.failure = errors.OutOfMemory("not enough memory; a smaller picture may fit")
    with pytest.raises(errors.OutOfMemory, match="a smaller picture may fit"):
        await client.image("a red fox")


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.OK])
async def test_a_broken_watch_goes_on_without_gap_or_double(
    client: AsyncClient, script: Script, code: grpc.StatusCode
) -> None:
    script.breaks = [(2, code), (3, code), (6, code)]
    assert [event.sequence async for event in client.watch(JOB_ID)] == list(range(1, 8))
    assert script.watched == [0, 2, 3, 6]


async def test_a_watch_begins_after_the_sequence_asked_for(client: AsyncClient) -> None:
    assert [event.sequence async for event in client.watch(JOB_ID, after=5)] == [6, 7]


async def test_a_watch_from_beyond_the_end_is_over_at_once(client: AsyncClient) -> None:
    assert [event async for event in client.watch(JOB_ID, after=7)] == []


async def test_a_place_in_the_queue_is_an_event_of_the_watch_but_not_of_the_log(
    client: AsyncClient, script: Script
) -> None:
    script.places = [edge_pb2.QueueUpdate(position=3, estimate=estimate_of(40)), edge_pb2.QueueUpdate(position=2)]
    _, first, second, *rest = [event async for event in client.watch(JOB_ID)]
    assert isinstance(first, atelier.PlaceChanged)
    assert isinstance(second, atelier.PlaceChanged)
    assert (first.sequence, first.position) == (1, 3)
    assert first.estimate
    assert first.estimate.start
    assert first.estimate.start.earliest < first.estimate.start.time < first.estimate.start.latest
    assert first.estimate.start.time < first.estimate.finish.time
    assert first.estimate.samples == 12
    assert (second.position, second.estimate) == (2, None)
    assert [event.sequence for event in rest] == list(range(2, 8))


async def test_an_attempt_that_failed_is_an_event_with_its_reason(client: AsyncClient, script: Script) -> None:
    failed = edge_pb2.Retry(attempt=1)
    failed.error.reason, failed.error.message = job_pb2.ERROR_REASON_WORKER_LOST, "the worker is gone"
    failed.not_before.seconds = 1_700_000_000
    script.attempts_failed = [failed]
    event = [event async for event in client.watch(JOB_ID)][1]
    assert isinstance(event, atelier.AttemptFailed)
    assert isinstance(event.error, errors.WorkerLost)
    assert (str(event.error), event.attempt, event.not_before.timestamp()) == ("the worker is gone", 1, 1_700_000_000)


async def test_a_job_is_repeated_and_followed(client: AsyncClient, script: Script) -> None:
    handle = client.retry(JOB_ID)
    assert (await handle.submitted()).retry_of == JOB_ID
    assert [image.bytes() for image in await handle] == [PNG]
    assert [(request.job_id, len(request.idempotency_key)) for request in script.retried] == [(JOB_ID, 32)]


async def test_repeating_a_job_is_tried_again_under_the_same_name(client: AsyncClient, script: Script) -> None:
    script.refusals = [errors.Draining("shutting down")]
    await client.retry(JOB_ID)
    assert len(script.retried) == 1
    script.refusals = [errors.JobNotEnded("it is processing")]
    with pytest.raises(errors.JobNotEnded):
        await client.retry(JOB_ID)


async def test_priority_and_webhook_are_of_the_submission(client: AsyncClient, script: Script) -> None:
    await client.image("a red fox", priority=-2, webhook="https://example.com/done", steps=25)
    await client.video("waves", priority=0)
    await client.submit({"type": "video_fast", "prompt": "waves"}, webhook="https://example.com/done")
    image, video, plain = script.submitted
    assert (image.priority, image.webhook.url) == (-2, "https://example.com/done")
    assert image.sdxl.config.steps == 25
    assert (video.HasField("priority"), video.HasField("webhook")) == (True, False)
    assert (plain.HasField("priority"), plain.webhook.url) == (False, "https://example.com/done")


async def test_a_full_queue_says_which_limit_and_when_to_come_back(client: AsyncClient, script: Script) -> None:
    script.refusals = [errors.QueueFull("max_queued: you may have 10 jobs queued and have 10", "max_queued", 7.5)]
    with pytest.raises(errors.QueueFull, match="you may have 10") as caught:
        await client.image("a red fox")
    assert (caught.value.limit, caught.value.retry_after_seconds) == ("max_queued", 7.5)
    assert script.submitted == []


async def test_a_watch_gives_up_when_the_edge_stays_away(
    client: AsyncClient, edge: ScriptedEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "TIMEOUT_SECONDS", 0.5)
    edge.stop()
    with pytest.raises(errors.EdgeUnreachable, match=edge.address):
        [event async for event in client.watch(JOB_ID)]


async def test_a_watch_of_an_unknown_job_is_not_tried_again(client: AsyncClient, script: Script) -> None:
    with pytest.raises(errors.JobNotFound, match="no job nobody"):
        [event async for event in client.watch("nobody")]


async def test_unavailable_is_tried_again(client: AsyncClient, script: Script) -> None:
    script.refusals = [errors.Draining("shutting down"), errors.DatabaseUnavailable("no database")]
    assert (await client.submit({"type": "sdxl_image_fast", "prompt": "a red fox"})).id == JOB_ID


async def test_nothing_but_unavailable_is_tried_again(client: AsyncClient, script: Script) -> None:
    script.refusals = [errors.NoFreeSlot("full")]
    with pytest.raises(errors.NoFreeSlot):
        await client.submit({"type": "sdxl_image_fast", "prompt": "a red fox"})


async def test_a_wrong_token_is_unauthenticated(edge: ScriptedEdge) -> None:
    async with AsyncClient(edge.address, "wrong") as client:
        with pytest.raises(errors.Unauthenticated):
            await client.jobs()


async def test_a_text_is_answered(client: AsyncClient, script: Script) -> None:
    answer = await client.chat("Why is the sky blue?", max_tokens=100, temperature=0.0)
    assert answer.text == "Blue light scatters."
    assert (answer.tokens, answer.finish_reason, answer.model) == (3, "stop", "SmolLM2-135M-Instruct")
    message = chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, content="Why is the sky blue?")
    assert script.chats == [chat_pb2.ChatRequest(messages=[message], max_tokens=100, temperature=0.0)]


async def test_an_answer_comes_in_pieces(client: AsyncClient) -> None:
    chat = client.chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}], stream=True)
    assert [piece async for piece in chat] == list(ANSWER)
    assert (await chat).text == "".join(ANSWER)


async def test_a_message_with_an_unknown_role_is_refused_by_name(client: AsyncClient) -> None:
    with pytest.raises(errors.InvalidRequest, match=r"messages\[0\].role: unknown word 'robot'"):
        await client.chat([{"role": "robot", "content": "Why?"}])


async def test_leaving_an_answer_early_ends_the_call(client: AsyncClient, script: Script) -> None:
    script.hold = threading.Event()
    pieces = aiter(client.chat("Why?", stream=True))
    assert await anext(pieces) == ANSWER[0]
    await pieces.aclose()  # type: ignore[attr-defined]
    assert await asyncio.to_thread(script.abandoned.wait, 5)
    script.hold.set()


async def test_jobs_are_read_over_several_pages(client: AsyncClient) -> None:
    found = await client.jobs(limit=120)
    assert [job.id for job in found] == [f"job_{number}" for number in range(120)]


async def test_an_unknown_state_is_refused_by_name(client: AsyncClient) -> None:
    with pytest.raises(errors.InvalidRequest, match="unknown word 'done'; known: completed"):
        await client.jobs(statuses=["done"])


async def test_a_job_is_plain_words(client: AsyncClient) -> None:
    job = await client.job(JOB_ID)
    assert (job.id, job.type, job.status, job.has_ended, job.error) == (
        JOB_ID,
        "sdxl_image_high",
        "completed",
        True,
        None,
    )
    assert [asset.key for asset in job.assets] == [KEY]
    assert job.to_dict()["sdxl_callback"]["assets"][0]["type"] == "image"


async def test_a_job_can_be_cancelled(client: AsyncClient, script: Script) -> None:
    assert (await client.cancel(JOB_ID)).status == "cancelled"
    assert script.cancelled == [JOB_ID]


async def test_bytes_that_changed_on_the_way_are_refused(client: AsyncClient, script: Script) -> None:
    [asset] = (await client.job(JOB_ID)).assets
    script.bytes = PNG[:-1]
    with pytest.raises(errors.StorageUnavailable, match="did not arrive as it was stored"):
        await client.download(asset)


async def test_a_file_is_saved_under_its_name_or_under_the_one_given(client: AsyncClient, tmp_path: Path) -> None:
    [image] = await client.image("a red fox")
    assert image.save(tmp_path) == tmp_path / f"{JOB_ID}_image_0.png"
    assert image.save(tmp_path / "new" / "fox.png").read_bytes() == PNG


async def test_what_is_stored_is_listed_over_pages(client: AsyncClient, script: Script) -> None:
    script.stored = [edge_pb2.Asset(key=f"ann/job/image_{number}.png") for number in range(150)]
    assert [asset.name for asset in await client.assets(120)] == [f"image_{number}.png" for number in range(120)]
    assert len(await client.assets(1000)) == 150


async def test_what_is_listed_can_be_downloaded_saved_and_deleted(
    client: AsyncClient, script: Script, tmp_path: Path
) -> None:
    script.stored = [stored_image()]
    [listed] = await client.assets()
    assert (listed.type, listed.size, listed.mime_type) == ("image", len(PNG), "image/png")
    assert repr(listed) == f"StoredAsset(type='image', key='{KEY}', size={len(PNG)})"
    assert (await client.download(listed)).save(tmp_path).name == f"{JOB_ID}_image_0.png"
    await client.delete_asset(listed.key)
    assert script.deleted == [KEY]
    with pytest.raises(errors.AssetNotFound):
        await client.delete_asset("ann/job/image_1.png")


async def test_the_catalogue_and_the_workers_can_be_read(client: AsyncClient) -> None:
    assert [entry.name for entry in (await client.catalog()).job_types] == ["sdxl_image_high"]
    assert [worker.description.worker_id for worker in await client.workers()] == ["sdxl_worker_001"]
