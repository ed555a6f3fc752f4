"""Nobody reaches what is another's: every RPC is tried, and one that this file says nothing about fails it."""

import ast
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from atelier.contracts.json_form import from_spec_json
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from edge_service.adapters.notifications import Notifications
from edge_service.queue.leases import Leases, Unwritten
from edge_service.queue.rows import AssetRow, WorkerSlot
from edge_service.references.uploads import Source
from shared.server import Server
from tests.kit.bad_input import reason
from tests.kit.edge import ANN, BOB, Calls, new_database, started_edge
from tests.kit.pictures import plain

METHODS = {
    f"{service.name}.{method.name}": method
    for service in edge_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
FOX = {"type": "sdxl_image_fast", "prompt": "a red fox"}
# What each RPC is asked, with Ann's things where <these> stand, and what Bob must be told: the same as for what is not
# there. None: what it says to him must have nothing of Ann's.
JOB, ASSET, KEY, DENIED = "JOB_NOT_FOUND", "ASSET_NOT_FOUND", "KEY_NOT_FOUND", "PERMISSION_DENIED"
ASKED: list[tuple[str, dict[str, Any], str | None]] = [
    ("JobService.SubmitJob", {"sdxl": FOX | {"metadata": {"reference_image_url": "<upload>"}}}, ASSET),
    (
        "JobService.SubmitJob",
        {"wan": {"type": "video_fast", "prompt": "a", "config": {"first_frame": "<upload>"}}},
        ASSET,
    ),
    ("JobService.GetJob", {"job_id": "<job>"}, JOB),
    ("JobService.WatchJob", {"job_id": "<job>"}, JOB),
    ("JobService.CancelJob", {"job_id": "<job>"}, JOB),
    ("JobService.RetryJob", {"job_id": "<job>"}, JOB),
    ("JobService.ListJobs", {}, None),
    ("AssetService.GetAsset", {"key": "<asset>"}, ASSET),
    ("AssetService.DownloadAsset", {"key": "<asset>"}, ASSET),
    ("AssetService.DeleteAsset", {"key": "<asset>"}, ASSET),
    ("AssetService.ListAssets", {}, None),
    ("AccountService.GetAccount", {}, None),
    ("AccountService.GetWebhookSecret", {}, None),
    ("AccountService.CreateKey", {"name": "for another", "user_id": "<user>"}, DENIED),
    ("AccountService.ListKeys", {}, None),
    ("AccountService.ListKeys", {"user_id": "<user>"}, DENIED),
    ("AccountService.RevokeKey", {"key_id": "<key>"}, KEY),
    ("CatalogService.GetCatalog", {}, None),
    ("FleetService.ListWorkers", {}, DENIED),
    ("FleetService.LoadModel", {}, DENIED),
    ("FleetService.UnloadModel", {}, DENIED),
    ("FleetService.DrainWorker", {}, DENIED),
]
ABSENT = {
    "job": "nothing_1", "asset": "ann/nothing_1/image_0.png", "upload": f"ann/upload_{'0' * 32}/image_0.png",
    "key": "nothing_1", "user": "nobody",
}  # fmt: skip
# These name nothing that could be another's. What they make or read is the caller's alone, which these tests say.
END_TO_END = "tests/journeys/edge"
SHOWN_BY = {
    "ChatService.Chat": f"{END_TO_END}/test_intake.py::test_a_context_begins_the_conversation",
    "AssetService.CreateUpload":
        f"{END_TO_END}/test_uploads.py::test_the_same_bytes_are_sent_once_and_each_owner_has_their_own",
}  # fmt: skip


def test_every_rpc_has_its_answer() -> None:
    asked = {name for name, _, _ in ASKED}
    assert set(METHODS) == asked | set(SHOWN_BY)
    assert not asked & set(SHOWN_BY)


@pytest.mark.parametrize("name", SHOWN_BY)
def test_what_is_shown_elsewhere_is_shown_by_a_test_that_there_is(name: str, repository: Path) -> None:
    file, _, test = SHOWN_BY[name].partition("::")
    defined = ast.parse((repository / file).read_text()).body
    assert test in {each.name for each in defined if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.fixture(scope="module")
async def server(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """An edge without workers, for all tests here: what one of them needs of Ann's is made for it anew."""
    running = await started_edge(await new_database(postgres), tmp_path_factory.mktemp("edge"))
    yield running
    await running.stop()


@pytest.fixture(scope="module")
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield opened


@pytest.fixture
async def things(server: Server, channel: grpc.aio.Channel) -> dict[str, str]:
    """A job, an asset, an upload and a key of Ann's, by what they are, and what she alone is told."""
    job = await Calls(channel, ANN).submit(sdxl=FOX)
    made = await _completed(server, job)
    data = plain("red")
    source = Source("ann", hashlib.sha256(data).hexdigest())
    upload = await server._service._uploads.keep(source, data)  # type: ignore[attr-defined]
    request = edge_pb2.CreateKeyRequest(name="of ann")
    key = await _call(channel, ANN, METHODS["AccountService.CreateKey"], request)
    return {
        "job": job.id, "asset": made, "upload": upload.key, "key": key.key.id, "user": "ann",
        **await _told_to_ann(server, channel),
    }  # fmt: skip


async def _told_to_ann(server: Server, channel: grpc.aio.Channel) -> dict[str, str]:
    """Her secret, and her use of what is counted: numbers that nobody else comes to by chance."""
    database: Any = server._service._database  # type: ignore[attr-defined]
    async with database.connection() as connection:
        await connection.execute("UPDATE usage SET jobs = 7919, credits = 79193 WHERE owner = 'ann'")
        await connection.execute("UPDATE storage SET bytes = 7919319793 WHERE owner = 'ann'")
    account = await _call(channel, ANN, METHODS["AccountService.GetAccount"], edge_pb2.GetAccountRequest())
    used = {quota.name: f"used: {quota.used}" for quota in account.quotas if quota.used > 1000}
    assert set(used) == {"jobs_per_day", "credits", "storage_bytes"}
    method, request = METHODS["AccountService.GetWebhookSecret"], edge_pb2.GetWebhookSecretRequest()
    return {"webhook secret": (await _call(channel, ANN, method, request)).secret, **used}


async def _completed(server: Server, job: edge_pb2.Job) -> str:
    """Ends a job as if a worker had made one image; returns the key of it."""
    database: Any = server._service._database  # type: ignore[attr-defined]
    leases = Leases(database, Notifications())
    [lease] = await leases.lease(WorkerSlot("sdxl", "127.0.0.1:1", "sdxl_worker_001", 1), [], 1, 60)
    assert lease.job_id == job.id
    made = AssetRow(f"ann/{job.id}/image_0.png", "image", "image/png", 1, "00" * 32)
    callback = sdxl_pb2.SdxlCallback(job_id=job.id, status=job_pb2.JOB_STATUS_COMPLETED)
    assert await leases.complete(lease, callback, [made], Unwritten(lease.last_sequence, []))
    return made.key


async def _call(channel: grpc.aio.Channel, token: str, method: Any, request: Message) -> Any:
    path = f"/{method.containing_service.full_name}/{method.name}"
    answer: Any = GetMessageClass(method.output_type)
    metadata = (("authorization", f"Bearer {token}"),)
    if method.server_streaming:
        stream = channel.unary_stream(path, type(request).SerializeToString, answer.FromString)
        async for first in stream(request, metadata=metadata, timeout=10):
            return first
    unary = channel.unary_unary(path, type(request).SerializeToString, answer.FromString)
    return await unary(request, metadata=metadata, timeout=10)


def _id(asked: tuple[Any, ...]) -> str:
    return f"{asked[0]}({', '.join(asked[1])})"


def _request(name: str, fields: Mapping[str, Any], things: Mapping[str, str]) -> Message:
    said = json.dumps(fields)
    for thing in _named(fields):
        said = said.replace(f"<{thing}>", things[thing])
    make: Any = GetMessageClass(METHODS[name].input_type)
    asked: Message = from_spec_json(make, said)
    return asked


def _named(fields: Mapping[str, Any]) -> list[str]:
    """Which of Ann's things a request names."""
    return [thing for thing in ABSENT if f"<{thing}>" in json.dumps(fields)]


@pytest.mark.parametrize(("name", "fields", "refusal"), ASKED, ids=map(_id, ASKED))
async def test_what_is_anns_is_not_there_for_bob(
    name: str, fields: dict[str, Any], refusal: str | None, channel: grpc.aio.Channel, things: dict[str, str]
) -> None:
    request = _request(name, fields, things)
    if refusal is None:
        said = str(await _call(channel, BOB, METHODS[name], request))
        assert [what for what, thing in things.items() if re.search(rf"\b{re.escape(thing)}\b", said)] == []
        return
    told = [await _refused(channel, METHODS[name], each) for each in (request, _request(name, fields, ABSENT))]
    assert [reason(error) for error in told] == [refusal, refusal]
    assert told[0].code() == told[1].code()
    of_anns, of_nothing = (str(error.details()) for error in told)
    for thing in _named(fields):
        of_anns, of_nothing = of_anns.replace(things[thing], "X"), of_nothing.replace(ABSENT[thing], "X")
    assert of_anns == of_nothing


async def _refused(channel: grpc.aio.Channel, method: Any, request: Message) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _call(channel, BOB, method, request)
    return caught.value


# A repetition would be planned anew, and there are no bytes to download: end_to_end/ has both.
NOT_FOR_ANN = {"JobService.RetryJob", "AssetService.DownloadAsset"}


FOR_ANN = [(name, fields) for name, fields, _ in ASKED if _named(fields) and name not in NOT_FOR_ANN]


@pytest.mark.parametrize(("name", "fields"), FOR_ANN, ids=map(_id, FOR_ANN))
async def test_what_is_anns_is_there_for_ann(
    name: str, fields: dict[str, Any], channel: grpc.aio.Channel, things: dict[str, str]
) -> None:
    assert await _call(channel, ANN, METHODS[name], _request(name, fields, things)) is not None
