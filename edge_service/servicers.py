"""The services that clients call. Each RPC: who calls, call the room that knows, return. Errors are translated by the
interceptor, which has authorised the caller and checked the message before."""

import asyncio
import contextlib
import math
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC
from hashlib import sha256
from typing import Any

import grpc
from google.protobuf.message import Message

from edge_service.account import account
from edge_service.asset_urls import AssetUrls
from edge_service.audit import Audit, Entry
from edge_service.auth import Principal
from edge_service.auth.key_orders import KeyOrders, message
from edge_service.catalog import catalog
from edge_service.fleet import Fleet, Worker
from edge_service.intake.contexts import contexts
from edge_service.intake.job_types import job_types
from edge_service.intake.plan import Intake, Plan
from edge_service.intake.policy import account_mode
from edge_service.intake.tiers import tiers
from edge_service.jobs import records
from edge_service.jobs.estimates.costs import Costs
from edge_service.jobs.estimates.forecasts import Forecasts
from edge_service.jobs.execution import Execution, seat
from edge_service.jobs.feeds.feeds import Feeds
from edge_service.jobs.leases import Leases, Unwritten
from edge_service.jobs.records import Lease
from edge_service.jobs.store import Store, Submission
from edge_service.jobs.uploads import Source, Uploads
from edge_service.jobs.webhooks.callbacks import HOUSE_SECRET, secret_of
from edge_service.pages import before_token, page_token
from edge_service.receiving import announcement
from shared import errors, interceptors
from shared.assets import PNG, AssetStore
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.edge.v1 import edge_pb2, edge_pb2_grpc
from shared.pb.atelier.job.v1 import job_pb2

Context = grpc.aio.ServicerContext[Any, Any]
PAGE_SIZE = 20
# Enough for the longest page of ordinary jobs; well below the 4 MiB that a gRPC client takes.
PAGE_BYTES, BATCH_SIZE = 2**20, 5


def _principal() -> Principal:
    principal: Principal = interceptors.caller.get()
    return principal


def _owner() -> str:
    return _principal().user_id


class Links:
    """Puts fresh signed URLs into what leaves the edge: they are never stored."""

    def __init__(self, urls: AssetUrls) -> None:
        self._urls = urls

    async def job(self, job: edge_pb2.Job) -> edge_pb2.Job:
        for callback in (job.sdxl_callback, job.wan_callback):
            for asset in callback.assets:
                asset.url = (await self._urls.sign(asset.key)).url
        return job

    async def asset(self, asset: edge_pb2.Asset) -> edge_pb2.Asset:
        signed = await self._urls.sign(asset.key)
        asset.url = signed.url
        asset.url_expires.seconds = signed.expires
        return asset


class JobServicer(edge_pb2_grpc.JobServiceServicer):
    """Durable jobs."""

    def __init__(
        self, store: Store, intake: Intake, feeds: Feeds, links: Links, costs: Costs, forecasts: Forecasts
    ) -> None:
        self._store, self._intake, self._feeds, self._links = store, intake, feeds, links
        self._costs, self._forecasts = costs, forecasts

    async def SubmitJob(self, request: edge_pb2.SubmitJobRequest, context: Context) -> edge_pb2.SubmitJobResponse:
        if costly := self._intake.is_costly(request):
            if earlier := await self._earlier(request, request.idempotency_key):
                return edge_pb2.SubmitJobResponse(job=earlier)
            await _count(self._store)  # before any work is done for it
        try:
            plan = await self._intake.job(request, _principal(), context.time_remaining() or math.inf)
        except errors.AtelierError:
            if earlier := await self._earlier(request, request.idempotency_key):
                return edge_pb2.SubmitJobResponse(job=earlier)
            if not costly:
                await _count(self._store)
            raise
        submission = _submission(plan, self._costs, request.idempotency_key, request)
        job = await self._store.create(replace(submission, counted=costly))
        return edge_pb2.SubmitJobResponse(job=await self._links.job(job))

    async def _earlier(self, request: Message, key: str) -> edge_pb2.Job | None:
        """What was stored for this very request before is what it is, though the same would be refused today."""
        job = await self._store.earlier(_owner(), key, _digest(request))
        return job and await self._links.job(job)

    async def GetJob(self, request: edge_pb2.GetJobRequest, context: Context) -> edge_pb2.GetJobResponse:
        job = await self._store.job(_owner(), request.job_id)
        await self._foresee([job])
        return edge_pb2.GetJobResponse(job=await self._links.job(job))

    async def _foresee(self, jobs: Sequence[edge_pb2.Job]) -> None:
        """Fills in the place and the estimates of those that are still open."""
        open_jobs = {job.id: job for job in jobs if not job.HasField("ended")}
        for job_id, forecast in (await self._forecasts.of(list(open_jobs))).items() if open_jobs else ():
            if forecast.position is not None:
                open_jobs[job_id].queue_position = forecast.position
            if forecast.estimate is not None:
                open_jobs[job_id].estimate.CopyFrom(forecast.estimate)

    async def ListJobs(self, request: edge_pb2.ListJobsRequest, context: Context) -> edge_pb2.ListJobsResponse:
        answer, before = edge_pb2.ListJobsResponse(), before_token(request.page_token)
        wanted = request.page_size if request.HasField("page_size") else PAGE_SIZE
        words = [records.status_word(status) for status in request.statuses]
        # In small batches: a job may be large, and neither the page nor what is read for it may grow without end.
        while len(answer.jobs) < wanted and answer.ByteSize() < PAGE_BYTES:
            batch = await self._store.jobs(_owner(), words, before, BATCH_SIZE)
            taken = batch[: wanted - len(answer.jobs)]
            for job in taken:
                answer.jobs.append(await self._links.job(job))
            if len(taken) == len(batch) < BATCH_SIZE:
                before = None
                break
            last = answer.jobs[-1]
            before = last.created.ToDatetime(UTC), last.id
        answer.next_page_token = page_token(*before) if before else ""
        await self._foresee(answer.jobs)  # once: where the queue is deep, each time takes a second
        return answer

    def WatchJob(
        self, request: edge_pb2.WatchJobRequest, context: Context
    ) -> AsyncGenerator[edge_pb2.WatchJobResponse, None]:
        return self._feeds.watch(_owner(), request.job_id, request.after_sequence)

    async def CancelJob(self, request: edge_pb2.CancelJobRequest, context: Context) -> edge_pb2.CancelJobResponse:
        job = await self._store.cancel(_owner(), request.job_id)
        return edge_pb2.CancelJobResponse(job=await self._links.job(job))

    async def RetryJob(self, request: edge_pb2.RetryJobRequest, context: Context) -> edge_pb2.RetryJobResponse:
        try:
            ended = await self._store.ended_plan(_owner(), request.job_id)
            plan = await self._intake.again(ended, _principal())
        except errors.AtelierError:
            if earlier := await self._earlier(request, request.idempotency_key):
                return edge_pb2.RetryJobResponse(job=earlier)
            await _count(self._store)
            raise
        submission = _submission(plan, self._costs, request.idempotency_key, request)
        job = await self._store.create(replace(submission, retry_of=request.job_id))
        return edge_pb2.RetryJobResponse(job=await self._links.job(job))


def _submission(plan: Plan, costs: Costs, key: str, request: Message) -> Submission:
    """The caller's submission of a plan."""
    cost = costs.estimate(plan.type_name, plan.worker_type, plan.job)
    return Submission(_owner(), plan, cost, tiers().limits(_principal().tier), key, _digest(request))


async def _count(store: Store) -> None:
    """Counts a request that was refused before it came to the store. Raises QuotaExceeded if there were too many."""
    await store.accounts.count_request(_owner(), tiers().tiers[_principal().tier].quotas)


@contextlib.asynccontextmanager
async def _counting(store: Store) -> AsyncIterator[None]:
    """Counts what the block refuses: who tries out what is refused is limited as well."""
    try:
        yield
    except errors.AtelierError:
        await _count(store)
        raise


def _digest(request: Message) -> bytes:
    return sha256(request.SerializeToString(deterministic=True)).digest()


class ChatServicer(edge_pb2_grpc.ChatServiceServicer):
    """Interactive turns: recorded as jobs, answered at once."""

    def __init__(
        self, store: Store, intake: Intake, leases: Leases, execution: Execution, fleet: Fleet, costs: Costs
    ) -> None:
        self._store, self._intake, self._leases, self._execution = store, intake, leases, execution
        self._fleet, self._costs = fleet, costs

    async def Chat(self, request: edge_pb2.ChatRequest, context: Context) -> AsyncIterator[edge_pb2.ChatResponse]:
        async with _counting(self._store):
            plan = await self._intake.turn(request, _principal())
        worker = self._fleet.choose(plan.worker_type, plan.needs)
        if worker is None or (place := seat(worker)) is None:
            raise errors.NoWorker("no chat worker has a free slot now; try again soon")
        submission = _submission(plan, self._costs, "", request)
        turns = tiers().turns(_principal().tier)
        job = await self._store.create(replace(submission, interactive=True, limits=turns))
        try:
            lease = await self._leases.lease_one(job.id, place)
        except asyncio.CancelledError:
            await self._store.cancel(_owner(), job.id)
            raise
        if lease is None:
            await self._store.cancel(_owner(), job.id)
            raise errors.NoWorker("no chat worker has a free slot any more; try again soon")
        try:
            yield edge_pb2.ChatResponse(accepted=job)
            async with contextlib.aclosing(self._answer(lease, worker)) as events:
                async for event in events:
                    kind = event.WhichOneof("event")
                    yield edge_pb2.ChatResponse(**{kind: getattr(event, kind)})
        except errors.AtelierError as error:
            await self._execution.settle(lease, error)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            await self._execution.settle(lease, errors.Cancelled("the call ended before the answer was complete"))
            raise
        except Exception:
            await self._execution.settle(lease, errors.Internal("internal error while answering"))
            raise

    async def _answer(self, lease: Lease, worker: Worker) -> AsyncGenerator[chat_pb2.GenerateResponse, None]:
        """The worker's events, the callback once it is stored. The text is in it: a turn's log needs no pieces."""
        after: int | None = None
        async with contextlib.aclosing(self._execution.events(lease, worker)) as events:
            async for event in events:
                if after is None and (after := await self._leases.record(lease, lease.last_sequence, [])) is None:
                    raise errors.Cancelled("the turn was cancelled")
                if event.HasField("callback"):
                    await self._execution.complete(lease, worker, event.callback, Unwritten(after, []))
                yield event


class AssetServicer(edge_pb2_grpc.AssetServiceServicer):
    """What jobs made and owners uploaded."""

    def __init__(self, store: Store, assets: AssetStore, links: Links, uploads: Uploads, urls: AssetUrls) -> None:
        self._store, self._assets, self._links = store, assets, links
        self._uploads, self._urls = uploads, urls

    async def GetAsset(self, request: edge_pb2.GetAssetRequest, context: Context) -> edge_pb2.GetAssetResponse:
        asset = await self._store.asset(_owner(), request.key)
        return edge_pb2.GetAssetResponse(asset=await self._links.asset(asset))

    async def ListAssets(self, request: edge_pb2.ListAssetsRequest, context: Context) -> edge_pb2.ListAssetsResponse:
        size = request.page_size if request.HasField("page_size") else PAGE_SIZE
        assets = await self._store.assets(_owner(), before_token(request.page_token), size + 1)
        token = page_token(assets[size - 1].created.ToDatetime(UTC), assets[size - 1].key) if len(assets) > size else ""
        page = [await self._links.asset(asset) for asset in assets[:size]]
        return edge_pb2.ListAssetsResponse(assets=page, next_page_token=token)

    async def DownloadAsset(
        self, request: edge_pb2.DownloadAssetRequest, context: Context
    ) -> AsyncIterator[edge_pb2.DownloadAssetResponse]:
        asset = await self._store.asset(_owner(), request.key)
        async for chunk in self._assets.stream(asset.key):
            yield edge_pb2.DownloadAssetResponse(chunk=chunk)

    async def CreateUpload(
        self, request: edge_pb2.CreateUploadRequest, context: Context
    ) -> edge_pb2.CreateUploadResponse:
        announced = announcement(request)
        source = Source(_owner(), announced.sha256)
        if found := await self._uploads.find(source):
            asset = await self._links.asset(await self._store.asset(_owner(), found.key))
            return edge_pb2.CreateUploadResponse(asset=asset)
        key = await self._uploads.key(source)
        asset = edge_pb2.Asset(key=key, type=job_pb2.ASSET_TYPE_IMAGE, mime_type=PNG.mime_type)
        return edge_pb2.CreateUploadResponse(asset=asset, url=self._urls.sign_upload(key, announced).url)

    async def DeleteAsset(self, request: edge_pb2.DeleteAssetRequest, context: Context) -> edge_pb2.DeleteAssetResponse:
        await self._store.delete_asset(_owner(), request.key)
        with contextlib.suppress(errors.StorageUnavailable):  # housekeeping tries again until it is gone
            await self._assets.delete(request.key)
        return edge_pb2.DeleteAssetResponse()


class CatalogServicer(edge_pb2_grpc.CatalogServiceServicer):
    """What can be asked for."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def GetCatalog(self, request: edge_pb2.GetCatalogRequest, context: Context) -> edge_pb2.GetCatalogResponse:
        tier = tiers().tiers[_principal().tier]
        most = account_mode(tier, _principal().content_mode)
        modes = [mode for mode in (edge_pb2.CONTENT_MODE_SFW, edge_pb2.CONTENT_MODE_NSFW) if mode <= most]
        described = {name: context.description for name, context in contexts().contexts.items()}
        return catalog(self._fleet, lambda name: tier.allows_job(name, job_types()[name].worker_type), modes, described)


class AccountServicer(edge_pb2_grpc.AccountServiceServicer):
    """The caller's own account."""

    def __init__(self, store: Store, keys: KeyOrders, audit: Audit) -> None:
        self._store, self._keys, self._audit = store, keys, audit

    async def GetAccount(self, request: edge_pb2.GetAccountRequest, context: Context) -> edge_pb2.GetAccountResponse:
        principal, tier = _principal(), tiers().tiers[_principal().tier]
        return account(principal, tier, await self._store.accounts.usage(principal.user_id, tier.quotas))

    async def GetWebhookSecret(
        self, request: edge_pb2.GetWebhookSecretRequest, context: Context
    ) -> edge_pb2.GetWebhookSecretResponse:
        house = await self._store.secret(HOUSE_SECRET, fresh=secrets.token_bytes(32))
        return edge_pb2.GetWebhookSecretResponse(secret=secret_of(house, _owner()))

    async def CreateKey(self, request: edge_pb2.CreateKeyRequest, context: Context) -> edge_pb2.CreateKeyResponse:
        key, secret = await self._keys.create(request, _principal())
        await self._audit.record(Entry(_owner(), "key.created", key.id))
        return edge_pb2.CreateKeyResponse(key=message(key), secret=secret)

    async def ListKeys(self, request: edge_pb2.ListKeysRequest, context: Context) -> edge_pb2.ListKeysResponse:
        keys = await self._keys.of(request.user_id, _principal())
        return edge_pb2.ListKeysResponse(keys=[message(key) for key in keys])

    async def RevokeKey(self, request: edge_pb2.RevokeKeyRequest, context: Context) -> edge_pb2.RevokeKeyResponse:
        key = await self._keys.revoke(request.key_id, _principal())
        await self._audit.record(Entry(_owner(), "key.revoked", key.id))
        return edge_pb2.RevokeKeyResponse(key=message(key))


class FleetServicer(edge_pb2_grpc.FleetServiceServicer):
    """The workers, for operators."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def ListWorkers(self, request: edge_pb2.ListWorkersRequest, context: Context) -> edge_pb2.ListWorkersResponse:
        return edge_pb2.ListWorkersResponse(workers=[worker.message() for worker in self._fleet.workers])

    async def LoadModel(self, request: edge_pb2.LoadModelRequest, context: Context) -> edge_pb2.LoadModelResponse:
        raise errors.NotImplementedYet("LoadModel: a worker loads its models at start; changing them is not built yet")

    async def UnloadModel(self, request: edge_pb2.UnloadModelRequest, context: Context) -> edge_pb2.UnloadModelResponse:
        raise errors.NotImplementedYet("UnloadModel: a worker keeps its models until it stops; this is not built yet")

    async def DrainWorker(self, request: edge_pb2.DrainWorkerRequest, context: Context) -> edge_pb2.DrainWorkerResponse:
        raise errors.NotImplementedYet("DrainWorker: is not built yet; send the worker SIGTERM")


def register(
    server: grpc.aio.Server,
    jobs: JobServicer,
    chat: ChatServicer,
    assets: AssetServicer,
    catalogue: CatalogServicer,
    account: AccountServicer,
    fleet: FleetServicer,
) -> None:
    """Adds the services to a server."""
    edge_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    edge_pb2_grpc.add_ChatServiceServicer_to_server(chat, server)
    edge_pb2_grpc.add_AssetServiceServicer_to_server(assets, server)
    edge_pb2_grpc.add_CatalogServiceServicer_to_server(catalogue, server)
    edge_pb2_grpc.add_AccountServiceServicer_to_server(account, server)
    edge_pb2_grpc.add_FleetServiceServicer_to_server(fleet, server)
