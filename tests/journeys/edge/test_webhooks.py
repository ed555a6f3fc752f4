"""Webhooks through a whole edge, as its clients see them."""

from collections.abc import AsyncIterator

import grpc
import pytest

from atelier.contracts.errors import InvalidRequest, from_rpc_error
from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from atelier.pb.job.v1 import job_pb2
from atelier.webhooks import verify
from tests.kit.edge import ANN, Calls, StartEdge
from tests.kit.receiver import Receiver, receiving, until

JOB = {"type": "sdxl_image_fast", "prompt": "a fox"}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def secret(channel: grpc.aio.Channel, caller: Calls) -> str:
    account = edge_pb2_grpc.AccountServiceStub(channel)
    answer = await account.GetWebhookSecret(edge_pb2.GetWebhookSecretRequest(), metadata=caller.metadata)
    return str(answer.secret)


async def test_the_end_of_a_job_reaches_its_receiver(
    start_edge: StartEdge, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ATELIER_ALLOWED_NETWORKS", "127.0.0.0/8")
    server = await start_edge()
    async with grpc.aio.insecure_channel(server.address) as channel:
        ann = Calls(channel, ANN)
        job = await ann.submit(sdxl=JOB, webhook={"url": receiver.url})
        assert job.webhook == edge_pb2.WebhookDelivery(url=receiver.url, state=edge_pb2.WEBHOOK_STATE_PENDING)
        await ann.cancel(job.id)
        await until(lambda: bool(receiver.received))
        [received] = receiver.received
        event = verify(received.body, received.headers, await secret(channel, ann))
        assert (event.id, event.callback["status"]) == (f"{job.id}.2", "cancelled")
        assert event.callback["error"] == {"reason": "cancelled", "message": "cancelled by its owner"}
        async for _ in ann.watch(job.id):
            pass
        told = (await ann.get(job.id)).webhook
        while told.state == edge_pb2.WEBHOOK_STATE_PENDING:
            told = (await ann.get(job.id)).webhook
        assert (told.state, told.attempts) == (edge_pb2.WEBHOOK_STATE_DELIVERED, 1)


async def test_an_address_inside_is_refused_when_it_is_submitted(ann: Calls):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ann.submit(sdxl=JOB, webhook={"url": "http://127.0.0.1:8080/hook"})
    error = from_rpc_error(refused.value)
    assert isinstance(error, InvalidRequest)
    [violation] = error.violations
    assert violation.field == "webhook.url"
    assert violation.description.startswith("must not be a loopback address; an operator may allow")


async def test_a_job_without_a_webhook_tells_nobody(ann: Calls):
    job = await ann.submit(sdxl=JOB)
    assert not job.HasField("webhook")
    assert (await ann.cancel(job.id)).status == job_pb2.JOB_STATUS_CANCELLED


async def test_a_secret_is_its_owners_own_and_stays(channel: grpc.aio.Channel, ann: Calls, bob: Calls):
    assert len(await secret(channel, ann)) == 64
    assert await secret(channel, ann) == await secret(channel, ann)
    assert await secret(channel, ann) != await secret(channel, bob)
