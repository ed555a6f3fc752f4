"""An account as its owner sees it, and its limits as a client meets them, at two edges on one database."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc
import pytest
from google.rpc import error_details_pb2

from atelier.contracts.errors import from_rpc_error, status_of
from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from edge_service.accounts import tiers as module
from edge_service.accounts.tiers import Quotas, Tiers
from tests.kit.edge import ANN, BOB, Calls, StartEdge

IMAGE = {"type": "sdxl_image_fast", "prompt": "a fox"}


@pytest.fixture
def quotas(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Changes to the quotas of premium, in force from the next request on."""
    changed: dict[str, object] = {}
    whole = module.tiers()

    def policy(name: str, model: type[Tiers]) -> Tiers:
        premium = whole.tiers["premium"]
        few = Quotas.model_validate(premium.quotas.model_dump() | changed)
        return whole.model_copy(update={"tiers": whole.tiers | {"premium": premium.model_copy(update={"quotas": few})}})

    monkeypatch.setattr(module, "policy", policy)
    return changed


@pytest.fixture
async def edges(start_edge: StartEdge) -> AsyncIterator[Sequence[grpc.aio.Channel]]:
    """Two edges without workers."""
    channels = [grpc.aio.insecure_channel((await start_edge()).address) for _ in range(2)]
    yield channels
    await asyncio.gather(*(channel.close() for channel in channels))


async def account(channel: grpc.aio.Channel, token: str = ANN) -> edge_pb2.GetAccountResponse:
    stub = edge_pb2_grpc.AccountServiceStub(channel)
    return await stub.GetAccount(edge_pb2.GetAccountRequest(), metadata=Calls(channel, token).metadata)


async def refused(calls: Calls, **fields: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await calls.submit(**({"sdxl": IMAGE} | fields))
    return error.value


async def test_an_account_shows_tier_permissions_and_every_quota_with_its_use(edges: Sequence[grpc.aio.Channel]):
    ann = Calls(edges[0], ANN)
    await ann.account.CreateKey(edge_pb2.CreateKeyRequest(name="nightly"), metadata=ann.metadata)
    await ann.submit(sdxl=IMAGE)
    await ann.cancel((await ann.submit(sdxl=IMAGE)).id)
    found = await account(edges[1])
    assert (found.user_id, found.tier, found.content_mode) == ("ann", "premium", edge_pb2.CONTENT_MODE_NSFW)
    assert {"job.sdxl_image_high", "references", "nsfw"} <= set(found.permissions)
    assert "fleet" not in found.permissions
    used = {quota.name: quota.used for quota in found.quotas if quota.name != "requests_per_minute"}
    assert used == {
        "queued": 1, "queued_of_one_type": 1, "running": 0, "turns": 0, "jobs_per_day": 2, "credits": 1,
        "storage_bytes": 0, "api_keys": 1,
    }  # fmt: skip
    sizes = module.tiers().tiers["premium"]
    assert {quota.name: quota.size for quota in found.quotas} == {
        "queued": sizes.max_queued, "queued_of_one_type": sizes.max_queued_by_type, "running": sizes.quotas.max_running,
        "turns": sizes.max_turns, "jobs_per_day": sizes.quotas.jobs_per_day,
        "credits": sizes.quotas.credits_per_period, "storage_bytes": sizes.quotas.storage_bytes,
        "requests_per_minute": sizes.quotas.requests_per_minute, "api_keys": 100,
    }  # fmt: skip
    allowed = sizes.request_priority
    assert (found.least_priority, found.most_priority) == (allowed.least, allowed.most)
    assert allowed.least < 0 < allowed.most
    forgotten = {quota.name for quota in found.quotas if quota.HasField("resets")}
    assert forgotten == {"requests_per_minute", "jobs_per_day", "credits"}
    assert all(quota.used == 0 for quota in (await account(edges[0], BOB)).quotas)


@pytest.mark.parametrize(("size", "name"), [("jobs_per_day", "jobs_per_day"), ("credits_per_period", "credits")])
async def test_sixty_four_submissions_at_two_edges_are_ten_jobs(
    edges: Sequence[grpc.aio.Channel], quotas: dict[str, object], size: str, name: str
):
    quotas[size] = 10
    crowd = [Calls(edges[number % 2], ANN) for number in range(64)]
    outcomes = await asyncio.gather(*(calls.submit(sdxl=IMAGE) for calls in crowd), return_exceptions=True)
    assert sum(isinstance(outcome, edge_pb2.Job) for outcome in outcomes) == 10
    assert {from_rpc_error(e).limit for e in outcomes if isinstance(e, grpc.aio.AioRpcError)} == {name}
    [quota] = [quota for quota in (await account(edges[0])).quotas if quota.name == name]
    assert (quota.size, quota.used) == (10, 10)


async def test_a_client_is_told_the_limit_its_size_its_use_and_when_to_come_back(
    edges: Sequence[grpc.aio.Channel], quotas: dict[str, object]
):
    quotas["jobs_per_day"] = 1
    ann = Calls(edges[0], ANN)
    await ann.submit(sdxl=IMAGE)
    error = await refused(ann)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = status_of(error).details
    [info] = [
        error_details_pb2.ErrorInfo.FromString(d.value) for d in details if d.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)
    ]
    [retry] = [
        error_details_pb2.RetryInfo.FromString(d.value) for d in details if d.Is(error_details_pb2.RetryInfo.DESCRIPTOR)
    ]
    [quota] = [
        error_details_pb2.QuotaFailure.FromString(d.value)
        for d in details
        if d.Is(error_details_pb2.QuotaFailure.DESCRIPTOR)
    ]
    assert info.reason == "QUOTA_EXCEEDED"
    assert quota.violations[0].subject == "jobs_per_day"
    assert "1 jobs a day and submitted 1" in quota.violations[0].description
    assert 0 < retry.retry_delay.ToSeconds() <= 86400
    metadata = {str(name): value for name, value in error.trailing_metadata() or ()}
    assert abs(int(metadata["grpc-retry-pushback-ms"]) / 1000 - retry.retry_delay.ToSeconds()) <= 1


async def test_a_repeated_job_passes_the_same_quotas(edges: Sequence[grpc.aio.Channel], quotas: dict[str, object]):
    ann = Calls(edges[0], ANN)
    job = await ann.cancel((await ann.submit(sdxl=IMAGE)).id)
    quotas["jobs_per_day"] = 1
    with pytest.raises(grpc.aio.AioRpcError, match="jobs_per_day"):
        await ann.jobs.RetryJob(edge_pb2.RetryJobRequest(job_id=job.id), metadata=ann.metadata)


async def test_the_same_key_is_the_same_job_when_a_quota_is_used_up(
    edges: Sequence[grpc.aio.Channel], quotas: dict[str, object]
):
    quotas |= {"jobs_per_day": 1, "requests_per_minute": 1}
    ann = Calls(edges[0], ANN)
    first = await ann.submit(sdxl=IMAGE, idempotency_key="k")
    assert (await Calls(edges[1], ANN).submit(sdxl=IMAGE, idempotency_key="k")).id == first.id


async def test_what_is_refused_before_it_is_stored_is_a_request_too(
    edges: Sequence[grpc.aio.Channel], quotas: dict[str, object]
):
    quotas["requests_per_minute"] = 2
    calls = [Calls(edges[number % 2], ANN) for number in range(5)]
    errors = [from_rpc_error(await refused(one, preset="no_such")) for one in calls]
    # Should a minute begin meanwhile, two more are taken for what they are.
    assert {getattr(error, "limit", "") for error in errors} == {"", "requests_per_minute"}
    assert getattr(errors[2], "limit", "") or getattr(errors[4], "limit", "")


async def test_a_key_that_is_used_for_other_requests_does_not_hide_them(
    edges: Sequence[grpc.aio.Channel], quotas: dict[str, object]
):
    quotas["requests_per_minute"] = 2
    ann = Calls(edges[0], ANN)
    await ann.submit(sdxl=IMAGE, idempotency_key="k")
    errors = [
        from_rpc_error(await refused(ann, idempotency_key="k", style=style)) for style in ("photo", "cinematic") * 2
    ]
    # Should a minute begin meanwhile, two more are taken for what they are.
    assert {getattr(error, "limit", "") for error in errors} == {"", "requests_per_minute"}
