"""The services that clients call. Each RPC: who calls, call the room that knows, return. Errors are translated by the
interceptor, which has authorised the caller and checked the message before."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC
from hashlib import sha256
from typing import Any

import grpc

from edge_service.asset_urls import AssetUrls
from edge_service.auth import Principal
from edge_service.catalog import catalog
from edge_service.fleet import Fleet
from edge_service.intake.plan import plan_chat, plan_job
from edge_service.jobs import records
from edge_service.jobs.execution import Execution
from edge_service.jobs.leases import Leases
from edge_service.jobs.statements import CHANGED
from edge_service.jobs.store import Store, Submission
from edge_service.jobs.wakeups import Wakeups
from edge_service.pages import before_token, page_token
from shared import errors, interceptors
from shared.assets import AssetStore
from shared.pb.atelier.edge.v1 import edge_pb2, edge_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
HEARTBEAT_SECONDS = 15.0
PAGE_SIZE = 20
# Enough for the longest page of ordinary jobs; well below the 4 MiB that a gRPC client takes.
PAGE_BYTES, BATCH_SIZE = 2**20, 5


def _owner() -> str:
    principal: Principal = interceptors.caller.get()
    return principal.user_id


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

    def __init__(self, store: Store, fleet: Fleet, wakeups: Wakeups, links: Links) -> None:
        self._store, self._fleet, self._wakeups, self._links = store, fleet, wakeups, links
        self.draining = asyncio.Event()

    async def SubmitJob(self, request: edge_pb2.SubmitJobRequest, context: Context) -> edge_pb2.SubmitJobResponse:
        plan = plan_job(request, self._fleet.models())
        submission = Submission(request.idempotency_key, sha256(request.SerializeToString(deterministic=True)).digest())
        job_id = await self._store.create(_owner(), plan, submission)
        return edge_pb2.SubmitJobResponse(job=await self._store.job(_owner(), job_id))

    async def GetJob(self, request: edge_pb2.GetJobRequest, context: Context) -> edge_pb2.GetJobResponse:
        job = await self._store.job(_owner(), request.job_id)
        return edge_pb2.GetJobResponse(job=await self._links.job(job))

    async def ListJobs(self, request: edge_pb2.ListJobsRequest, context: Context) -> edge_pb2.ListJobsResponse:
        answer, before = edge_pb2.ListJobsResponse(), before_token(request.page_token)
        wanted = request.page_size if request.HasField("page_size") else PAGE_SIZE
        words = [records.status_word(status) for status in request.statuses]
        # In small batches: a job may be large, and neither the page nor what is read for it may grow without end.
        while len(answer.jobs) < wanted and answer.ByteSize() < PAGE_BYTES:
            batch = await self._store.jobs(_owner(), words, before, BATCH_SIZE)
            for job in batch[: wanted - len(answer.jobs)]:
                answer.jobs.append(await self._links.job(job))
            if len(batch) < BATCH_SIZE and answer.jobs[-1:] == batch[-1:]:
                return answer
            last = answer.jobs[-1]
            before = last.created.ToDatetime(UTC), last.id
        answer.next_page_token = page_token(*before) if before else ""
        return answer

    async def WatchJob(
        self, request: edge_pb2.WatchJobRequest, context: Context
    ) -> AsyncGenerator[edge_pb2.WatchJobResponse, None]:
        owner, after = _owner(), request.after_sequence
        with self._wakeups.on(CHANGED, request.job_id) as changed:
            while not self.draining.is_set():
                changed.clear()
                found = await self._store.events(owner, request.job_id, after)
                for event in found.events:
                    yield edge_pb2.WatchJobResponse(event=await self._whole(owner, event))
                    after = event.sequence
                if found.finished:
                    return
                if not found.events and not await self._wait(changed):
                    yield edge_pb2.WatchJobResponse(heartbeat=edge_pb2.Heartbeat())
        raise errors.Draining(f"the edge is stopping; watch again after sequence {after}")

    async def _whole(self, owner: str, event: edge_pb2.JobEvent) -> edge_pb2.JobEvent:
        if event.HasField("ended"):
            event.ended.CopyFrom(await self._links.job(await self._store.job(owner, event.ended.id)))
        return event

    async def _wait(self, changed: asyncio.Event) -> bool:
        """Waits for news, a drain, or the time of a heartbeat; True unless it was the heartbeat."""
        waiting = [asyncio.ensure_future(event.wait()) for event in (changed, self.draining)]
        try:
            done, _ = await asyncio.wait(waiting, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return bool(done)

    async def CancelJob(self, request: edge_pb2.CancelJobRequest, context: Context) -> edge_pb2.CancelJobResponse:
        job = await self._store.cancel(_owner(), request.job_id)
        return edge_pb2.CancelJobResponse(job=await self._links.job(job))

    async def RetryJob(self, request: edge_pb2.RetryJobRequest, context: Context) -> edge_pb2.RetryJobResponse:
        raise errors.NotImplementedYet("RetryJob: is not built yet; submit the job again")


class ChatServicer(edge_pb2_grpc.ChatServiceServicer):
    """Interactive turns: recorded as jobs, answered at once."""

    def __init__(self, store: Store, leases: Leases, execution: Execution, fleet: Fleet) -> None:
        self._store, self._leases, self._execution, self._fleet = store, leases, execution, fleet

    async def Chat(self, request: edge_pb2.ChatRequest, context: Context) -> AsyncIterator[edge_pb2.ChatResponse]:
        plan = plan_chat(request.request, self._fleet.models())
        job_id = await self._store.create(_owner(), plan)
        lease = await self._leases.lease_one(job_id)
        if lease is None:
            raise errors.Cancelled("the turn was cancelled before it began")
        try:
            yield edge_pb2.ChatResponse(accepted=await self._store.job(_owner(), job_id))
            worker = self._fleet.choose(plan.worker_type)
            if worker is None:
                raise errors.NoWorker("no chat worker has a free slot now; try again soon")
            async with contextlib.aclosing(self._execution.events(lease, worker)) as events:
                async for event in events:
                    if event.WhichOneof("event") == "callback":
                        await self._execution.complete(lease, event.callback)
                    yield edge_pb2.ChatResponse(
                        **{event.WhichOneof("event"): getattr(event, event.WhichOneof("event"))}
                    )
        except errors.AtelierError as error:
            await self._execution.settle(lease, error)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            await self._execution.settle(lease, errors.Cancelled("the caller left"))
            raise
        except Exception:
            await self._execution.settle(lease, errors.Internal("internal error while answering"))
            raise


class AssetServicer(edge_pb2_grpc.AssetServiceServicer):
    """What jobs made."""

    def __init__(self, store: Store, assets: AssetStore, links: Links) -> None:
        self._store, self._assets, self._links = store, assets, links

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
        raise errors.NotImplementedYet("CreateUpload: reference images are not built yet")

    async def DeleteAsset(self, request: edge_pb2.DeleteAssetRequest, context: Context) -> edge_pb2.DeleteAssetResponse:
        raise errors.NotImplementedYet("DeleteAsset: is not built yet")


class CatalogServicer(edge_pb2_grpc.CatalogServiceServicer):
    """What can be asked for."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def GetCatalog(self, request: edge_pb2.GetCatalogRequest, context: Context) -> edge_pb2.GetCatalogResponse:
        return catalog(self._fleet)


class AccountServicer(edge_pb2_grpc.AccountServiceServicer):
    """The caller's own account."""

    async def GetAccount(self, request: edge_pb2.GetAccountRequest, context: Context) -> edge_pb2.GetAccountResponse:
        raise errors.NotImplementedYet("GetAccount: accounts, tiers and quotas are not built yet")


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
