"""Nobody reaches what is another's: every RPC is tried, and one that this file says nothing about fails it."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from edge_service.jobs.leases import Leases, Unwritten
from edge_service.jobs.records import AssetRow, Seat
from edge_service.jobs.wakeups import Wakeups
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.job.v1 import job_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.server import Server
from tests.bad_input import reason
from tests.edge_service.conftest import ANN, BOB, Calls, StartEdge

METHODS = {
    f"{service.name}.{method.name}": method
    for service in edge_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
# What each RPC is asked, with Ann's things in the place of Bob's, and what he must be told: the same as for what is not
# there. None: what it says to Bob must have nothing of Ann's.
JOB, ASSET, KEY = "JOB_NOT_FOUND", "ASSET_NOT_FOUND", "KEY_NOT_FOUND"
ASKED: dict[str, tuple[dict[str, str], str | None]] = {
    "JobService.GetJob": ({"job_id": "job"}, JOB),
    "JobService.WatchJob": ({"job_id": "job"}, JOB),
    "JobService.CancelJob": ({"job_id": "job"}, JOB),
    "JobService.RetryJob": ({"job_id": "job"}, JOB),
    "JobService.ListJobs": ({}, None),
    "AssetService.GetAsset": ({"key": "asset"}, ASSET),
    "AssetService.DownloadAsset": ({"key": "asset"}, ASSET),
    "AssetService.DeleteAsset": ({"key": "asset"}, ASSET),
    "AssetService.ListAssets": ({}, None),
    "AccountService.GetAccount": ({}, None),
    "AccountService.GetWebhookSecret": ({}, None),
    "AccountService.ListKeys": ({}, None),
    "AccountService.RevokeKey": ({"key_id": "key"}, KEY),
    "CatalogService.GetCatalog": ({}, None),
}
ABSENT = {"job": "nothing_1", "asset": "ann/nothing_1/image_0.png", "key": "nothing_1"}
# These name nothing that could be another's, or are for operators; other tests have their rules.
NOTHING_OF_OTHERS = {
    "JobService.SubmitJob": "references of others: tests/edge_service/intake/test_references.py",
    "ChatService.Chat": "takes no name of anything",
    "AssetService.CreateUpload": "makes what is the caller's; the key is derived from the caller",
    "AccountService.CreateKey": "keys for others: tests/edge_service/auth",
    "FleetService.ListWorkers": "operators alone: tests/edge_service/auth",
    "FleetService.LoadModel": "operators alone: tests/edge_service/auth",
    "FleetService.UnloadModel": "operators alone: tests/edge_service/auth",
    "FleetService.DrainWorker": "operators alone: tests/edge_service/auth",
}


def test_every_rpc_has_its_answer() -> None:
    assert set(METHODS) == set(ASKED) | set(NOTHING_OF_OTHERS)
    assert not set(ASKED) & set(NOTHING_OF_OTHERS)


@pytest.fixture
async def server(start_edge: StartEdge) -> Server:
    return await start_edge()


@pytest.fixture
async def things(server: Server, database_url: str) -> AsyncIterator[dict[str, str]]:
    """A job, an asset and a key of Ann's, by what they are."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        ann = Calls(channel, ANN)
        job = await ann.submit(sdxl={"type": "sdxl_image_fast", "prompt": "a red fox"})
        made = await _completed(server, job)
        request = edge_pb2.CreateKeyRequest(name="of ann")
        key = await _call(channel, ANN, METHODS["AccountService.CreateKey"], request)
        yield {"job": job.id, "asset": made, "key": key.key.id}


async def _completed(server: Server, job: edge_pb2.Job) -> str:
    """Ends a job as if a worker had made one image; returns the key of it."""
    database: Any = server._service._database  # type: ignore[attr-defined]
    leases = Leases(database, Wakeups())
    [lease] = await leases.lease(Seat("sdxl", "127.0.0.1:1", "sdxl_worker_001", 1), [], 1, 60)
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


@pytest.mark.parametrize("name", ASKED)
async def test_what_is_anns_is_not_there_for_bob(name: str, server: Server, things: dict[str, str]) -> None:
    fields, refusal = ASKED[name]
    make: Any = GetMessageClass(METHODS[name].input_type)
    request = make(**{field: things[thing] for field, thing in fields.items()})
    absent = make(**{field: ABSENT[thing] for field, thing in fields.items()})
    async with grpc.aio.insecure_channel(server.address) as channel:
        if refusal is None:
            said = str(await _call(channel, BOB, METHODS[name], request))
            assert not [thing for thing in things.values() if thing in said]
            return
        told = [await _refused(channel, METHODS[name], each) for each in (request, absent)]
        assert [reason(error) for error in told] == [refusal, refusal]
        [of_anns, of_nothing] = [(error.code(), str(error.details())) for error in told]
        assert of_anns[0] == of_nothing[0]
        for field, thing in fields.items():
            blank = of_anns[1].replace(things[thing], "X"), of_nothing[1].replace(getattr(absent, field), "X")
            assert blank[0] == blank[1]


async def _refused(channel: grpc.aio.Channel, method: Any, request: Message) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _call(channel, BOB, method, request)
    return caught.value


# A repetition would be planned anew, and there are no bytes to download: end_to_end/ has both.
NOT_FOR_ANN = {"JobService.RetryJob", "AssetService.DownloadAsset"}


@pytest.mark.parametrize("name", [name for name, (fields, _) in ASKED.items() if fields and name not in NOT_FOR_ANN])
async def test_what_is_anns_is_there_for_ann(name: str, server: Server, things: dict[str, str]) -> None:
    fields, _ = ASKED[name]
    make: Any = GetMessageClass(METHODS[name].input_type)
    async with grpc.aio.insecure_channel(server.address) as channel:
        request = make(**{field: things[thing] for field, thing in fields.items()})
        assert await _call(channel, ANN, METHODS[name], request) is not None
