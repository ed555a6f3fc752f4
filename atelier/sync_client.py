"""The ordinary client: the asynchronous one, driven from a background thread. Same names, same arguments."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self, Unpack, overload

from atelier import handles
from atelier.background import BackgroundLoop
from atelier.client import AsyncClient
from atelier.events import Event
from atelier.pb.edge.v1 import edge_pb2
from atelier.requests import ChatOptions, ImageOptions, Messages, SubmitOptions, Submittable, VideoOptions
from atelier.results import Answer, Asset, File, Job, StoredAsset


class JobHandle:
    """A job that was submitted.

    for event in handle: ...      its events, until it has ended
    files = handle.result()       what it made; raises the AtelierError that ended it otherwise
    """

    def __init__(self, handle: handles.JobHandle, loop: BackgroundLoop) -> None:
        self._handle, self._loop = handle, loop
        self.id = loop.run(handle.submitted()).id

    def __repr__(self) -> str:
        return repr(self._handle)

    def __iter__(self) -> Iterator[Event]:
        return self._loop.iterate(aiter(self._handle))

    def result(self, timeout: float | None = None) -> list[File]:
        """Waits for the end and downloads what was made. TimeoutError after `timeout` seconds; the job goes on."""
        return self._loop.run(self._handle.result(), timeout)

    def ended(self) -> Job:
        """Waits for the end, good or bad, and returns the job in its final state."""
        return self._loop.run(self._handle.ended())

    def cancel(self) -> Job:
        """Cancels the job and returns it in its final state."""
        return self._loop.run(self._handle.cancel())


class ChatHandle:
    """An answer that is being made: iterate for the pieces of its text, `result()` for the whole."""

    def __init__(self, handle: handles.ChatHandle, loop: BackgroundLoop) -> None:
        self._handle, self._loop = handle, loop

    def __repr__(self) -> str:
        return repr(self._handle)

    def __iter__(self) -> Iterator[str]:
        return self._loop.iterate(aiter(self._handle))

    def result(self) -> Answer:
        """Waits for the whole answer."""
        return self._loop.run(self._handle.result())


class Client:
    """Talks to one edge. Raises AtelierError for what the edge refuses and EdgeUnreachable if it does not answer.

    with Client() as client:
        for file in client.image("a red fox", num_images=3).result():
            file.save("out/")
    """

    def __init__(self, address: str = "", token: str = "") -> None:
        """`address` is host:port or https://host:port; `token` is a token or an API key.

        Defaults: ATELIER_EDGE and ATELIER_TOKEN, else what `atelier up` left behind.
        """
        self._loop = BackgroundLoop()
        try:
            self._client = self._loop.call(lambda: AsyncClient(address, token))
        except BaseException:
            self._loop.close()
            raise

    @property
    def address(self) -> str:
        """Where the edge is, host:port."""
        return self._client.address

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; jobs go on."""
        self._loop.run(self._client.close())
        self._loop.close()

    def image(self, prompt: str, **options: Unpack[ImageOptions]) -> JobHandle:
        """Submits an image job. Iterating the handle gives its events, `result()` its files."""
        return JobHandle(self._loop.call(lambda: self._client.image(prompt, **options)), self._loop)

    def video(self, prompt: str, **options: Unpack[VideoOptions]) -> JobHandle:
        """Submits a video job, or with an image type a still. The handle is as that of `image`."""
        return JobHandle(self._loop.call(lambda: self._client.video(prompt, **options)), self._loop)

    @overload
    def chat(self, messages: Messages, *, stream: Literal[False] = False, **options: Unpack[ChatOptions]) -> Answer: ...
    @overload
    def chat(self, messages: Messages, *, stream: Literal[True], **options: Unpack[ChatOptions]) -> ChatHandle: ...
    def chat(self, messages: Messages, *, stream: bool = False, **options: Unpack[ChatOptions]) -> Answer | ChatHandle:
        """Answers a text or a list of {"role": ..., "content": ...}.

        With `stream=True` it returns at once, and iterating gives the pieces of the text as they are made.
        """
        called = self._loop.call(lambda: self._client.chat(messages, stream=True, **options))
        handle = ChatHandle(called, self._loop)
        return handle if stream else handle.result()

    def submit(self, job: Submittable | Mapping[str, Any], **options: Unpack[SubmitOptions]) -> Job:
        """Submits a job given as a message or as the specification's JSON object; it is durable when this returns.

        Raises QueueFull if too many of your jobs wait, QuotaExceeded if a limit of your account is used up.
        """
        return self._loop.run(self._client.submit(job, **options))

    def make(self, job: Submittable, **options: Unpack[SubmitOptions]) -> Job:
        """Submits a job as `submit` does, once the references in it that are files of this machine are uploaded."""
        return self._loop.run(self._client.make(job, **options))

    def upload(self, file: str | PathLike[str]) -> str:
        """Uploads a PNG, JPEG or WEBP picture as a reference, and returns its key. The same bytes are stored once.

        Raises OSError if it cannot be read, InvalidRequest or ReferenceUnusable if it is no picture that is taken.
        """
        return self._loop.run(self._client.upload(file))

    def retry(self, job_id: str) -> JobHandle:
        """Submits an ended job again, as a new one with the same plan and so the same seeds; `retry_of` names the old.

        The handle is as that of `image`. Raises JobNotEnded for an open job.
        """
        return JobHandle(self._loop.call(lambda: self._client.retry(job_id)), self._loop)

    def job(self, job_id: str) -> Job:
        """The job as it stands."""
        return self._loop.run(self._client.job(job_id))

    def jobs(self, limit: int = 20, statuses: Sequence[str] = ()) -> list[Job]:
        """Your newest jobs, at most `limit`; only those in the states named, if any are."""
        return self._loop.run(self._client.jobs(limit, statuses))

    def watch(self, job_id: str, after: int = 0, on_lost: Callable[[], None] | None = None) -> Iterator[Event]:
        """Yields the events after a sequence number, past ones first, until the job has ended.

        A broken connection is made again and the events go on where they stopped, without gap or double; `on_lost` is
        called when it breaks, in another thread.
        """
        return self._loop.iterate(self._client.watch(job_id, after, on_lost))

    def cancel(self, job_id: str) -> Job:
        """Cancels a job and returns it in its final state; one that has ended stays as it is."""
        return self._loop.run(self._client.cancel(job_id))

    def download(self, asset: Asset) -> File:
        """The asset with its bytes."""
        return self._loop.run(self._client.download(asset))

    def assets(self, limit: int = 20) -> list[StoredAsset]:
        """What is stored of yours, uploads too, newest first, at most `limit`; `download` gives the bytes of one."""
        return self._loop.run(self._client.assets(limit))

    def delete_asset(self, key: str) -> None:
        """Deletes an asset for good; its job still tells that it was made.

        Raises AssetNotFound, and JobNotEnded if an open job needs it as a reference.
        """
        self._loop.run(self._client.delete_asset(key))

    def catalog(self) -> edge_pb2.GetCatalogResponse:
        """Every job type with its parameters, bounds and defaults, and the models that are connected."""
        return self._loop.run(self._client.catalog())

    def account(self) -> edge_pb2.GetAccountResponse:
        """Your tier, what you may do, and each limit with its size, its use and when it resets."""
        return self._loop.run(self._client.account())

    def webhook_secret(self) -> str:
        """The secret that signs your webhooks: what `atelier.verify_webhook` takes."""
        return self._loop.run(self._client.webhook_secret())

    def create_key(
        self, name: str, *, scopes: Sequence[str] = (), days: float | None = None, user_id: str = "", tier: str = ""
    ) -> edge_pb2.CreateKeyResponse:
        """Makes an API key; `secret` of what is returned is shown this once. What is left out, the edge fills.

        Raises PermissionDenied if the key would do more than you may.
        """
        return self._loop.run(self._client.create_key(name, scopes=scopes, days=days, user_id=user_id, tier=tier))

    def keys(self, user_id: str = "") -> list[edge_pb2.ApiKey]:
        """Your API keys without their secrets, newest first; those of another user if you administer keys."""
        return self._loop.run(self._client.keys(user_id))

    def revoke_key(self, key_id: str) -> edge_pb2.ApiKey:
        """Revokes an API key and those that were made with it. Raises KeyNotFound."""
        return self._loop.run(self._client.revoke_key(key_id))

    def workers(self) -> list[edge_pb2.Worker]:
        """Every worker the edge was told of, with what it is and how busy it is."""
        return self._loop.run(self._client.workers())
