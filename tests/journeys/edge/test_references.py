"""From what a job names to what its worker gets: a real edge, database, site and worker with the ability."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from atelier.contracts.errors import AssetNotFound, InvalidRequest, JobNotEnded, PermissionDenied, ReferenceUnusable
from atelier.contracts.json_form import from_spec_dict, to_spec_json
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from edge_service.adapters.database import Database
from edge_service.adapters.http_client import GuardedHttpClient
from edge_service.adapters.notifications import Notifications
from edge_service.adapters.url_guard import UrlGuard
from edge_service.domain.decisions import collecting
from edge_service.domain.kinds import kind_of
from edge_service.domain.plan import Plan
from edge_service.planning.defaults import fill
from edge_service.queue.estimates.cost_model import Cost
from edge_service.queue.leases import Leases, Unwritten
from edge_service.queue.rows import AssetRow, WorkerSlot
from edge_service.queue.store import Store, Submission
from edge_service.references.resolve import References
from edge_service.references.uploads import Source, Uploads
from sdxl_service.config import SdxlConfig
from sdxl_service.servicer import SdxlServicer, sdxl_worker
from shared.assets import AssetStore
from shared.server import Server
from tests.edge_service.references.test_resolve import Site, answer, serving
from tests.kit.edge import ANN, StartEdge
from tests.kit.fake_sdxl_engine import MODEL, FakeEngine
from tests.kit.job_tables import MANY
from tests.kit.pictures import plain
from tests.kit.steered import connected

LOOPBACK = UrlGuard("127.0.0.0/8")
PICTURE = plain("red", "JPEG")


class Bench:
    """The rooms of the edge that a reference passes, on one database and one folder."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.assets, self.outgoing = database, AssetStore(folder.as_uri()), GuardedHttpClient(LOOPBACK)
        self.uploads = Uploads(database, self.assets)
        self.references = References(self.uploads, self.outgoing, LOOPBACK)
        notifications = Notifications()
        self.store, self.leases = Store(database, notifications), Leases(database, notifications)

    async def upload(self, owner: str, data: bytes = PICTURE) -> job_pb2.Reference:
        return await self.uploads.keep(Source(owner, hashlib.sha256(data).hexdigest()), data)

    async def planned(self, owner: str, permitted: bool = True, **fields: object) -> Plan:
        """A plan as the edge makes it: presets, steering, references."""
        request = from_spec_dict(edge_pb2.SubmitJobRequest, fields)
        asked = getattr(request, request.WhichOneof("job") or "")
        kind = kind_of(asked)
        with collecting() as decisions:
            filled = fill(asked)
            kind.resolve_references(filled.job, asked, request.reference_use, request.enhancement)
            await self.references.resolve(filled.job, owner, permitted)
        record = edge_pb2.Job(decisions=decisions)
        return Plan(filled.type_name, kind.worker_type, filled.job, record, 60, 0, kind.needs(filled.job), 1)

    async def submit(self, owner: str, plan: Plan) -> str:
        return (await self.store.create(Submission(owner, plan, Cost("kind", 1, 1, 0), MANY))).id

    async def made_by_a_job(self, owner: str, data: bytes = PICTURE, kind: str = "image") -> str:
        """The key of what a job of theirs has made."""
        job_id = await self.submit(owner, await self.planned(owner, **image()))
        [lease] = await self.leases.lease(WorkerSlot("sdxl", "worker:1", "w", 9), [], 1, 60)
        [stored] = await self.assets.put_all(owner, job_id, 1, [data])
        row = AssetRow(stored.key, kind, stored.media.mime_type, stored.bytes, stored.sha256)
        callback = sdxl_pb2.SdxlCallback(job_id=job_id, status=job_pb2.JOB_STATUS_COMPLETED)
        assert await self.leases.complete(lease, callback, [row], Unwritten(lease.last_sequence, []))
        return stored.key


def image(value: str = "", **fields: object) -> dict[str, object]:
    job: dict[str, object] = {"type": "sdxl_image_fast", "prompt": "a fox"}
    return {"sdxl": {**job, "metadata": {"reference_image_url": value}} if value else job, **fields}


@pytest.fixture
async def bench(database: Database, tmp_path: Path) -> AsyncIterator[Bench]:
    opened = Bench(database, tmp_path / "user-library")
    yield opened
    opened.uploads.close()
    await opened.outgoing.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving({"/secret-path?token=secret": answer(PICTURE)}) as running:
        yield running


def decision(plan: Plan, field: str) -> tuple[str, str]:
    [found] = [found for found in plan.record.decisions if found.field == field]
    return getattr(found, "from"), found.to


async def test_a_url_becomes_an_upload_of_the_owner_and_leaves_no_trace(bench: Bench, site: Site):
    plan = await bench.planned("ann", **image(site.url("/secret-path?token=secret")))
    reference = plan.job.references.image
    assert reference.key == f"ann/upload_{hashlib.sha256(PICTURE).hexdigest()[:32]}/image_0.png"
    assert (reference.width, reference.height) == (24, 16)
    assert hashlib.sha256(await bench.assets.read(reference.key)).hexdigest() == reference.sha256
    assert decision(plan, "metadata.reference_image_url") == ("an address at 127.0.0.1", reference.key)
    assert plan.job.metadata.reference_image_url == ""
    job = await bench.store.job("ann", await bench.submit("ann", plan))
    assert "secret" not in to_spec_json(job)
    assert plan.needs == ["reference_composition"]


async def test_an_upload_and_what_a_job_made_may_be_references(bench: Bench):
    kept = await bench.upload("ann")
    plan = await bench.planned("ann", **image(kept.key))
    assert plan.job.references.image == kept
    assert decision(plan, "metadata.reference_image_url") == ("an upload", kept.key)
    made = await bench.made_by_a_job("ann", plain("blue", "JPEG"))
    plan = await bench.planned("ann", **image(made))
    assert plan.job.references.image.key.startswith("ann/upload_")
    assert decision(plan, "metadata.reference_image_url") == (made, plan.job.references.image.key)
    again = await bench.planned("ann", **image(made))
    assert again.job.references == plan.job.references


async def test_what_is_anothers_cannot_be_told_from_what_is_not(bench: Bench):
    messages = set()
    for key in (
        (await bench.upload("bob")).key,
        await bench.made_by_a_job("bob", plain("blue")),
        "bob/nothing/a.png",
    ):
        with pytest.raises(AssetNotFound) as refused:
            await bench.planned("ann", **image(key))
        messages.add(refused.value.message)
    assert messages == {"metadata.reference_image_url: no asset with this key belongs to you"}


@pytest.mark.parametrize(
    "value", ["../../etc/passwd", "/etc/passwd", "a b", "ann//x", "file:///etc/passwd", "key", "é/a"]
)
async def test_what_is_neither_key_nor_url_is_refused(bench: Bench, value: str):
    with pytest.raises(InvalidRequest, match=r"sdxl.metadata.reference_image_url: must be the key of an asset"):
        await bench.planned("ann", **image(value))


async def test_a_video_is_no_reference(bench: Bench):
    made = await bench.made_by_a_job("ann", b"\x00\x00\x00\x18ftypmp42" + bytes(100), "video")
    with pytest.raises(ReferenceUnusable, match=r"metadata.reference_image_url: this file is no picture"):
        await bench.planned("ann", **image(made))


async def test_a_tier_without_references_gets_none_and_nothing_is_fetched(bench: Bench, site: Site):
    with pytest.raises(PermissionDenied, match="your tier does not allow"):
        await bench.planned("ann", permitted=False, **image(site.url()))
    assert site.asked == []
    assert (await bench.planned("ann", permitted=False, **image())).needs == []


async def test_no_picture_is_fetched_while_another_is_wrong(bench: Bench, site: Site):
    wan = {"type": "video_fast", "prompt": "a", "config": {"first_frame": site.url(), "last_frame": "http://10.0.0.1/"}}
    with pytest.raises(InvalidRequest, match=r"wan.config.last_frame: must not be a private"):
        await bench.planned("ann", wan=wan)
    assert site.asked == []


async def test_both_frames_of_a_video_are_found_and_one_url_is_fetched_once(bench: Bench, site: Site):
    url, kept = site.url("/secret-path?token=secret"), await bench.upload("ann", plain("blue"))
    config = {"first_frame": url, "last_frame": kept.key}
    plan = await bench.planned("ann", wan={"type": "video_fast", "prompt": "a", "config": config})
    assert isinstance(plan.job, wan_pb2.WanJob)
    assert plan.job.references.last == kept
    assert plan.job.references.first.key != kept.key
    assert (plan.job.config.first_frame, plan.job.config.last_frame) == ("", "")
    assert plan.needs == ["reference_both"]
    same = await bench.planned("ann", wan={"type": "video_fast", "prompt": "a",
                                           "config": {"first_frame": url, "last_frame": url}})  # fmt: skip
    assert same.job.references.first == same.job.references.last == plan.job.references.first
    assert len(site.asked) == 2


async def test_an_open_job_keeps_its_picture_and_an_ended_one_gives_it_free(bench: Bench):
    kept = await bench.upload("ann")
    job_id = await bench.submit("ann", await bench.planned("ann", **image(kept.key)))
    with pytest.raises(JobNotEnded, match=f"job {job_id} needs it"):
        await bench.store.delete_asset("ann", kept.key)
    with pytest.raises(AssetNotFound):
        await bench.store.delete_asset("bob", kept.key)
    await bench.store.cancel("ann", job_id)
    await bench.store.delete_asset("ann", kept.key)
    with pytest.raises(AssetNotFound):
        await bench.store.asset("ann", kept.key)


async def test_a_picture_that_was_deleted_between_plan_and_submission_is_missed(bench: Bench):
    kept = await bench.upload("ann")
    plan = await bench.planned("ann", **image(kept.key))
    await bench.store.delete_asset("ann", kept.key)
    with pytest.raises(ReferenceUnusable, match="was deleted"):
        await bench.submit("ann", plan)
    assert await bench.store.jobs("ann", [], None, 9) == []


async def test_a_submission_and_a_deletion_at_once_never_leave_a_job_without_its_picture(bench: Bench):
    for number in range(8):
        kept = await bench.upload("ann", plain("red") + bytes(number))
        plan = await bench.planned("ann", **image(kept.key))
        both = (bench.submit("ann", plan), bench.store.delete_asset("ann", kept.key))
        submitted, deleted = await asyncio.gather(*both, return_exceptions=True)
        assert isinstance(submitted, ReferenceUnusable) != isinstance(deleted, JobNotEnded), (submitted, deleted)


async def test_a_submission_that_is_repeated_is_the_same_job_though_its_picture_has_gone(bench: Bench):
    kept = await bench.upload("ann")
    plan = await bench.planned("ann", **image(kept.key))
    submission = Submission("ann", plan, Cost("kind", 1, 1, 0), MANY, "key", b"digest")
    first = await bench.store.create(submission)
    await bench.store.cancel("ann", first.id)
    await bench.store.delete_asset("ann", kept.key)
    assert (await bench.store.create(submission)).id == first.id


async def test_a_worker_gets_a_key_and_nothing_else(
    bench: Bench, site: Site, start_edge: StartEdge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    requests: list[sdxl_pb2.GenerateRequest] = []
    generate = SdxlServicer.Generate

    async def listening_in(self: SdxlServicer, request: sdxl_pb2.GenerateRequest, context: object):
        requests.append(request)
        async for event in generate(self, request, context):
            yield event

    monkeypatch.setattr(SdxlServicer, "Generate", listening_in)
    engine = FakeEngine()
    engine.model = replace(MODEL, capabilities=("reference_composition",), max_pixels=2**24)
    config = SdxlConfig(
        model="fake", listen="127.0.0.1:0", assets=(tmp_path / "user-library").as_uri(), drain_seconds=0
    )
    worker = Server(sdxl_worker(config, lambda _: engine), config)
    await worker.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(worker.stop)
        ann = await connected(await start_edge([worker.address]), ANN, stack)
        plan = await bench.planned("ann", **image(site.url("/secret-path?token=secret"), reference_use="exact_copy"))
        job = await ann.ended(await bench.submit("ann", plan))
        assert job.status == job_pb2.JOB_STATUS_COMPLETED
        with pytest.raises(grpc.aio.AioRpcError, match="references: is set by the edge"):
            await ann.submit(sdxl={"type": "sdxl_image_fast", "prompt": "a", "references": {"denoise": 0.5}})
    [request] = requests
    assert request.job.references.image.key.startswith("ann/upload_")
    assert await bench.assets.read(request.job.references.image.key)
    assert request.job.references.denoise == 0.05
    assert (request.job.config.steps, request.job.config.guidance_scale) == (20, 1.0)
    assert "http" not in to_spec_json(request)
    assert "secret" not in to_spec_json(request)
