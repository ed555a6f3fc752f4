"""The asynchronous client: one method for each thing the edge does."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self, Unpack, cast, overload

from atelier import connection, requests, uploads
from atelier.contracts.json_form import from_spec_dict
from atelier.errors import StorageUnavailable, translated
from atelier.events import Event
from atelier.handles import ChatHandle, JobHandle
from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from atelier.requests import ChatOptions, ImageOptions, Messages, SubmitOptions, Submittable, VideoOptions
from atelier.results import Answer, Asset, File, Job, StoredAsset, stored
from atelier.watching import follow

MAX_PAGE = 100


class AsyncClient:
    """Talks to one edge. Raises AtelierError for what the edge refuses and EdgeUnreachable if it does not answer.

    async with AsyncClient() as client:
        files = await client.image("a red fox", num_images=3)
    """

    def __init__(self, address: str = "", token: str = "") -> None:
        """`address` is host:port or https://host:port; `token` is a token or an API key.

        Defaults: ATELIER_EDGE and ATELIER_TOKEN, else what `atelier up` left behind.
        """
        self._connection = connection.find(address, token)
        self._channel = self._connection.channel()
        self._jobs = edge_pb2_grpc.JobServiceStub(self._channel)
        self._chats = edge_pb2_grpc.ChatServiceStub(self._channel)
        self._assets = edge_pb2_grpc.AssetServiceStub(self._channel)
        self._catalog = edge_pb2_grpc.CatalogServiceStub(self._channel)
        self._account = edge_pb2_grpc.AccountServiceStub(self._channel)
        self._fleet = edge_pb2_grpc.FleetServiceStub(self._channel)

    @property
    def address(self) -> str:
        """Where the edge is, host:port."""
        return self._connection.address

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; what is still running on it is given up, jobs go on."""
        await self._channel.close(None)

    def image(self, prompt: str, **options: Unpack[ImageOptions]) -> JobHandle:
        """Submits an image job at once. `async for` over the handle gives its events, `await` its files."""
        return self._handle(self.make(requests.image(prompt, options), **requests.of_submission(options)))

    def video(self, prompt: str, **options: Unpack[VideoOptions]) -> JobHandle:
        """Submits a video job, or with an image type a still. The handle is as that of `image`."""
        return self._handle(self.make(requests.video(prompt, options), **requests.of_submission(options)))

    @overload
    def chat(
        self, messages: Messages, *, stream: Literal[False] = False, **options: Unpack[ChatOptions]
    ) -> Awaitable[Answer]: ...
    @overload
    def chat(self, messages: Messages, *, stream: Literal[True], **options: Unpack[ChatOptions]) -> ChatHandle: ...
    def chat(
        self, messages: Messages, *, stream: bool = False, **options: Unpack[ChatOptions]
    ) -> Awaitable[Answer] | ChatHandle:
        """Answers a text or a list of {"role": ..., "content": ...}: `await` gives the Answer.

        With `stream=True`, `async for` gives the pieces of its text as they are made.
        """
        request = requests.turn(messages, options)
        call = self._chats.Chat(request, metadata=self._connection.metadata)
        handle = ChatHandle(call, self.address)
        return handle if stream else handle.result()

    async def submit(self, job: Submittable | Mapping[str, Any], **options: Unpack[SubmitOptions]) -> Job:
        """Submits a job given as a message or as the specification's JSON object; it is durable when this returns.

        Raises QueueFull if too many of your jobs wait, QuotaExceeded if a limit of your account is used up.
        """
        return Job((await self._call(self._jobs.SubmitJob, requests.submission(job, options))).job)

    async def make(self, job: Submittable, **options: Unpack[SubmitOptions]) -> Job:
        """Submits a job as `submit` does, once the references in it that are files of this machine are uploaded."""
        if isinstance(job, sdxl_pb2.SdxlJob | wan_pb2.WanJob):
            for part, field in requests.local_pictures(job):
                setattr(part, field, await self.upload(getattr(part, field)))
        return await self.submit(job, **options)

    async def upload(self, file: str | PathLike[str]) -> str:
        """Uploads a PNG, JPEG or WEBP picture as a reference, and returns its key. The same bytes are stored once.

        Raises OSError if it cannot be read, InvalidRequest or ReferenceUnusable if it is no picture that is taken.
        """
        picture = await asyncio.to_thread(uploads.read, file)
        opened = await self._call(self._assets.CreateUpload, picture.request)
        if opened.url:
            await uploads.send(opened.url, picture)
        return str(opened.asset.key)

    def retry(self, job_id: str) -> JobHandle:
        """Submits an ended job again, as a new one with the same plan and so the same seeds; `retry_of` names the old.

        The handle is as that of `image`. Raises JobNotEnded for an open job.
        """
        return self._handle(self._retried(job_id))

    async def job(self, job_id: str) -> Job:
        """The job as it stands."""
        return Job((await self._call(self._jobs.GetJob, edge_pb2.GetJobRequest(job_id=job_id))).job)

    async def jobs(self, limit: int = 20, statuses: Sequence[str] = ()) -> list[Job]:
        """Your newest jobs, at most `limit`; only those in the states named, if any are."""
        found: list[Job] = []
        request = from_spec_dict(edge_pb2.ListJobsRequest, {"statuses": list(statuses)})
        while len(found) < limit:
            request.page_size = min(limit - len(found), MAX_PAGE)
            page = await self._call(self._jobs.ListJobs, request)
            found += [Job(message) for message in page.jobs]
            request.page_token = page.next_page_token
            if not request.page_token:
                break
        return found

    def watch(self, job_id: str, after: int = 0, on_lost: Callable[[], None] | None = None) -> AsyncIterator[Event]:
        """Yields the events after a sequence number, past ones first, until the job has ended.

        A broken connection is made again and the events go on where they stopped, without gap or double; `on_lost` is
        called when it breaks.
        """

        def attach(last: int) -> Any:
            request = edge_pb2.WatchJobRequest(job_id=job_id, after_sequence=last)
            return self._jobs.WatchJob(request, metadata=self._connection.metadata)

        return follow(attach, after, self.address, on_lost)

    async def cancel(self, job_id: str) -> Job:
        """Cancels a job and returns it in its final state; one that has ended stays as it is."""
        return Job((await self._call(self._jobs.CancelJob, edge_pb2.CancelJobRequest(job_id=job_id))).job)

    async def download(self, asset: Asset) -> File:
        """The asset with its bytes."""
        data = await self._read(asset.key) if asset.key else asset.content.encode()
        expected = asset.metadata.get("sha256")
        if expected and hashlib.sha256(data).hexdigest() != expected:
            raise StorageUnavailable(f"{asset.key} did not arrive as it was stored; download it again")
        return File(asset.type, asset.key, asset.url, asset.content, asset.metadata, asset.job_id, data)

    async def assets(self, limit: int = 20) -> list[StoredAsset]:
        """What is stored of yours, uploads too, newest first, at most `limit`; `download` gives the bytes of one."""
        found: list[StoredAsset] = []
        request = edge_pb2.ListAssetsRequest()
        while len(found) < limit:
            request.page_size = min(limit - len(found), MAX_PAGE)
            page = await self._call(self._assets.ListAssets, request)
            found += [stored(message) for message in page.assets]
            request.page_token = page.next_page_token
            if not request.page_token:
                break
        return found

    async def delete_asset(self, key: str) -> None:
        """Deletes an asset for good; its job still tells that it was made.

        Raises AssetNotFound, and JobNotEnded if an open job needs it as a reference.
        """
        await self._call(self._assets.DeleteAsset, edge_pb2.DeleteAssetRequest(key=key))

    async def catalog(self) -> edge_pb2.GetCatalogResponse:
        """Every job type with its parameters, bounds and defaults, and the models that are connected."""
        found = await self._call(self._catalog.GetCatalog, edge_pb2.GetCatalogRequest())
        return cast(edge_pb2.GetCatalogResponse, found)

    async def account(self) -> edge_pb2.GetAccountResponse:
        """Your tier, what you may do, and each limit with its size, its use and when it resets."""
        return cast(
            edge_pb2.GetAccountResponse, await self._call(self._account.GetAccount, edge_pb2.GetAccountRequest())
        )

    async def webhook_secret(self) -> str:
        """The secret that signs your webhooks: what `atelier.verify_webhook` takes."""
        return str((await self._call(self._account.GetWebhookSecret, edge_pb2.GetWebhookSecretRequest())).secret)

    async def create_key(
        self, name: str, *, scopes: Sequence[str] = (), days: float | None = None, user_id: str = "", tier: str = ""
    ) -> edge_pb2.CreateKeyResponse:
        """Makes an API key; `secret` of what is returned is shown this once. What is left out, the edge fills.

        Raises PermissionDenied if the key would do more than you may.
        """
        request = edge_pb2.CreateKeyRequest(name=name, scopes=scopes, user_id=user_id, tier=tier)
        if days is not None:
            request.lifetime.FromTimedelta(timedelta(days=days))
        return cast(edge_pb2.CreateKeyResponse, await self._call(self._account.CreateKey, request))

    async def keys(self, user_id: str = "") -> list[edge_pb2.ApiKey]:
        """Your API keys without their secrets, newest first; those of another user if you administer keys."""
        return list((await self._call(self._account.ListKeys, edge_pb2.ListKeysRequest(user_id=user_id))).keys)

    async def revoke_key(self, key_id: str) -> edge_pb2.ApiKey:
        """Revokes an API key and those that were made with it. Raises KeyNotFound."""
        request = edge_pb2.RevokeKeyRequest(key_id=key_id)
        return cast(edge_pb2.ApiKey, (await self._call(self._account.RevokeKey, request)).key)

    async def workers(self) -> list[edge_pb2.Worker]:
        """Every worker the edge was told of, with what it is and how busy it is."""
        return list((await self._call(self._fleet.ListWorkers, edge_pb2.ListWorkersRequest())).workers)

    async def _retried(self, job_id: str) -> Job:
        request = edge_pb2.RetryJobRequest(job_id=job_id, idempotency_key=requests.new_key())
        return Job((await self._call(self._jobs.RetryJob, request)).job)

    def _handle(self, submitting: Coroutine[Any, Any, Job]) -> JobHandle:
        return JobHandle(self, asyncio.ensure_future(submitting))

    async def _call(self, method: Any, request: Any) -> Any:
        with translated(self.address):
            return await method(request, metadata=self._connection.metadata)

    async def _read(self, key: str) -> bytes:
        request = edge_pb2.DownloadAssetRequest(key=key)
        with translated(self.address):
            call = self._assets.DownloadAsset(request, metadata=self._connection.metadata)
            return b"".join([part.chunk async for part in call])
