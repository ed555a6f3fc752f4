"""An edge that answers from a script: a real gRPC server at the edge's contract, without a database or a worker."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field

import grpc
from google.rpc import status_pb2
from grpc_status import rpc_status

from atelier.contracts.errors import (
    TABLE,
    AssetNotFound,
    AtelierError,
    InvalidRequest,
    JobNotFound,
    KeyNotFound,
    Unauthenticated,
    to_status,
)
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.worker.v1 import worker_pb2
from shared.validation import check

TOKEN = "the-developer-token"
JOB_ID = "sdxl_image_high_1734567890_abc123"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(400_000)
KEY = f"developer/{JOB_ID}/image_0.png"
WEBHOOK_SECRET = "5ec2e7" * 10
API_KEY = "atl_abcdefghijklmnop"
KEY_SECRET = f"{API_KEY}_{'x' * 43}"
ANSWER = ("Blue ", "light ", "scatters.")


def one_worker() -> edge_pb2.ListWorkersResponse:
    """An image worker that takes work."""
    status = worker_pb2.WatchStatusResponse(slots=1, free_slots=1, accepting=True)
    description = worker_pb2.WorkerDescription(worker_id="sdxl_worker_001", worker_type="sdxl")
    worker = edge_pb2.Worker(address="127.0.0.1:1", description=description, status=status)
    return edge_pb2.ListWorkersResponse(workers=[worker])


@dataclass
class Script:
    """What the edge does. A test changes it before it calls."""

    steps: int = 4
    failure: AtelierError | None = None
    """How the job ends, if not well."""
    refusals: list[AtelierError] = field(default_factory=list)
    """Raised by the next calls of SubmitJob, one each."""
    breaks: list[tuple[int, grpc.StatusCode]] = field(default_factory=list)
    """Where the next watches break: after the event with this sequence number, with this code and no details."""
    places: list[edge_pb2.QueueUpdate] = field(default_factory=list)
    """What a watch is told after its first event."""
    hold_places: threading.Event | None = None
    """What the watch waits for after them."""
    attempts_failed: list[edge_pb2.Retry] = field(default_factory=list)
    """Attempts that fail before the one that does not."""
    bytes: bytes = PNG
    download_refusal: AtelierError | None = None
    """What a download is answered with, if not with the bytes."""
    hold: threading.Event | None = None
    """What the watch waits for before the last event."""
    workers: edge_pb2.ListWorkersResponse = field(default_factory=one_worker)
    workers_refusal: AtelierError | None = None
    """What ListWorkers answers, if not with them."""
    submitted: list[edge_pb2.SubmitJobRequest] = field(default_factory=list)
    chats: list[chat_pb2.ChatRequest] = field(default_factory=list)
    uploads: list[edge_pb2.CreateUploadRequest] = field(default_factory=list)
    watched: list[int] = field(default_factory=list)
    accepted: edge_pb2.Job = field(default_factory=lambda: queued())
    """What SubmitJob answers."""
    stored: list[edge_pb2.Asset] = field(default_factory=list)
    has_keys: bool = True
    deleted: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    keys_asked: list[edge_pb2.CreateKeyRequest] = field(default_factory=list)
    retried: list[edge_pb2.RetryJobRequest] = field(default_factory=list)
    listed: list[edge_pb2.Job] | None = None
    """What ListJobs answers, if not with jobs by number."""
    arrived: threading.Event = field(default_factory=threading.Event)
    """Set when a job was submitted."""
    abandoned: threading.Event = field(default_factory=threading.Event)
    """Set when a client left a chat before its end."""

    def job(self) -> edge_pb2.Job:
        """The job in its final state."""
        last = self.steps + 3 + len(self.attempts_failed)
        job = edge_pb2.Job(id=JOB_ID, type="sdxl_image_high", user_id="developer", last_sequence=last)
        job.status = job_pb2.JOB_STATUS_FAILED if self.failure else job_pb2.JOB_STATUS_COMPLETED
        if self.failure:
            job.error.reason = reason(self.failure)
            job.error.message = self.failure.message
            return job
        asset = sdxl_pb2.SdxlAsset(type=job_pb2.ASSET_TYPE_IMAGE, url=f"http://127.0.0.1:1/{KEY}?signature=x", key=KEY)
        asset.metadata.seed = 0
        asset.metadata.sha256 = hashlib.sha256(PNG).hexdigest()
        job.sdxl_callback.CopyFrom(sdxl_pb2.SdxlCallback(job_id=JOB_ID, worker_id="sdxl_worker_001", assets=[asset]))
        return job

    def events(self) -> list[edge_pb2.JobEvent]:
        """Queued, the attempts that fail, processing, one progress for each step, the end."""
        events = [edge_pb2.JobEvent(status=job_pb2.JOB_STATUS_QUEUED)]
        events += [edge_pb2.JobEvent(retry=failed) for failed in self.attempts_failed]
        events.append(edge_pb2.JobEvent(status=job_pb2.JOB_STATUS_PROCESSING))
        for step in range(1, self.steps + 1):
            progress = job_pb2.Progress(phase=job_pb2.PHASE_DENOISING, step=step, total_steps=self.steps)
            progress.remaining_seconds = float(self.steps - step)
            events.append(edge_pb2.JobEvent(progress=progress))
        events.append(edge_pb2.JobEvent(ended=self.job()))
        for sequence, event in enumerate(events, 1):
            event.sequence = sequence
            event.time.GetCurrentTime()
        return events


def reason(error: AtelierError) -> job_pb2.ErrorReason:
    """The reason of an error, as JobError carries it."""
    return TABLE[type(error)][1]


def refuse(context: grpc.ServicerContext, error: AtelierError) -> None:
    status: status_pb2.Status = to_status(error)
    context.abort_with_status(rpc_status.to_status(status))


class ScriptedEdge(
    edge_pb2_grpc.JobServiceServicer,
    edge_pb2_grpc.ChatServiceServicer,
    edge_pb2_grpc.AssetServiceServicer,
    edge_pb2_grpc.CatalogServiceServicer,
    edge_pb2_grpc.AccountServiceServicer,
    edge_pb2_grpc.FleetServiceServicer,
):
    """Serves a script on a free port."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        for name in ("Job", "Chat", "Asset", "Catalog", "Account", "Fleet"):
            getattr(edge_pb2_grpc, f"add_{name}ServiceServicer_to_server")(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()

    def SubmitJob(self, request, context):
        self._let_in(context)
        if self.script.refusals:
            refuse(context, self.script.refusals.pop(0))
        try:
            check(request)
        except InvalidRequest as error:
            refuse(context, error)
        self.script.submitted.append(request)
        self.script.arrived.set()
        return edge_pb2.SubmitJobResponse(job=self.script.accepted)

    def GetJob(self, request, context):
        self._let_in(context)
        self._find(request.job_id, context)
        return edge_pb2.GetJobResponse(job=self.script.job())

    def ListJobs(self, request, context):
        self._let_in(context)
        if self.script.listed is not None:
            return edge_pb2.ListJobsResponse(jobs=self.script.listed)
        start = int(request.page_token or 0)
        jobs = [edge_pb2.Job(id=f"job_{number}", type="chat", status=1) for number in range(start, 150)]
        page = jobs[: request.page_size]
        token = str(start + len(page)) if len(page) < len(jobs) else ""
        return edge_pb2.ListJobsResponse(jobs=page, next_page_token=token)

    def CancelJob(self, request, context):
        self._let_in(context)
        self._find(request.job_id, context)
        self.script.cancelled.append(request.job_id)
        return edge_pb2.CancelJobResponse(job=edge_pb2.Job(id=request.job_id, status=job_pb2.JOB_STATUS_CANCELLED))

    def RetryJob(self, request, context):
        self._let_in(context)
        if self.script.refusals:
            refuse(context, self.script.refusals.pop(0))
        self.script.retried.append(request)
        job = queued()
        job.retry_of = request.job_id
        return edge_pb2.RetryJobResponse(job=job)

    def WatchJob(self, request, context) -> Iterator[edge_pb2.WatchJobResponse]:
        self._let_in(context)
        self._find(request.job_id, context)
        self.script.watched.append(request.after_sequence)
        breaks = self.script.breaks.pop(0) if self.script.breaks else None
        if request.after_sequence >= len(self.script.events()):
            return
        yield edge_pb2.WatchJobResponse(heartbeat=edge_pb2.Heartbeat())
        for event in self.script.events()[request.after_sequence :]:
            if event.HasField("ended") and self.script.hold:
                self.script.hold.wait(20)
            yield edge_pb2.WatchJobResponse(event=event)
            if event.sequence == 1:
                for place in self.script.places:
                    yield edge_pb2.WatchJobResponse(queue=place)
                if self.script.hold_places:
                    self.script.hold_places.wait(20)
            if breaks and breaks[0] == event.sequence:
                if breaks[1] is grpc.StatusCode.OK:
                    return
                context.abort(breaks[1], "Socket closed")

    def Chat(self, request, context) -> Iterator[edge_pb2.ChatResponse]:
        self._let_in(context)
        self.script.chats.append(request.request)
        context.add_callback(self.script.abandoned.set)
        yield edge_pb2.ChatResponse(accepted=edge_pb2.Job(id="chat_1734567890_abc123", type="chat"))
        for tokens, text in enumerate(ANSWER, 1):
            yield edge_pb2.ChatResponse(delta=chat_pb2.ChatDelta(text=text, tokens=tokens))
            if self.script.hold:
                self.script.hold.wait(20)
        asset = chat_pb2.ChatAsset(type=job_pb2.ASSET_TYPE_TEXT, content="".join(ANSWER))
        asset.metadata.tokens_generated = len(ANSWER)
        asset.metadata.model_name = "SmolLM2-135M-Instruct"
        asset.metadata.finish_reason = chat_pb2.CHAT_FINISH_REASON_STOP
        callback = chat_pb2.ChatCallback(job_id="chat_1734567890_abc123", assets=[asset])
        yield edge_pb2.ChatResponse(callback=callback)

    def DownloadAsset(self, request, context) -> Iterator[edge_pb2.DownloadAssetResponse]:
        self._let_in(context)
        if self.script.download_refusal:
            refuse(context, self.script.download_refusal)
        if request.key != KEY:
            refuse(context, AssetNotFound(f"no asset {request.key}"))
        for start in range(0, len(self.script.bytes), 256 * 1024):
            yield edge_pb2.DownloadAssetResponse(chunk=self.script.bytes[start : start + 256 * 1024])

    def ListAssets(self, request, context):
        self._let_in(context)
        start = int(request.page_token or 0)
        end = start + request.page_size
        token = str(end) if end < len(self.script.stored) else ""
        return edge_pb2.ListAssetsResponse(assets=self.script.stored[start:end], next_page_token=token)

    def DeleteAsset(self, request, context):
        self._let_in(context)
        if request.key != KEY:
            refuse(context, AssetNotFound(f"no asset {request.key}"))
        self.script.deleted.append(request.key)
        return edge_pb2.DeleteAssetResponse()

    def CreateUpload(self, request, context):
        """Says that the bytes are there already: how they are sent, a real edge is needed for."""
        self._let_in(context)
        try:
            check(request)
        except InvalidRequest as error:
            refuse(context, error)
        self.script.uploads.append(request)
        return edge_pb2.CreateUploadResponse(asset=edge_pb2.Asset(key=upload_key(request.sha256)))

    def GetCatalog(self, request, context):
        self._let_in(context)
        steps = edge_pb2.Parameter(field="config.steps", type="uint32", default="25", minimum=10, maximum=50)
        entry = edge_pb2.JobTypeEntry(
            name="sdxl_image_high", worker_type="sdxl", available=True, parameters=[steps], credits=2, permitted=True
        )
        photo = edge_pb2.WordsEntry(name="photo", description="Like a photograph")
        models = [worker_pb2.Model(name="lustify_sdxl")]
        return edge_pb2.GetCatalogResponse(job_types=[entry], models=models, styles=[photo])

    def GetAccount(self, request, context):
        self._let_in(context)
        account = edge_pb2.GetAccountResponse(user_id="developer", tier="basic", permissions=["job.video_fast", "chat"])
        account.content_mode = edge_pb2.CONTENT_MODE_SFW
        credits = account.quotas.add(name="credits", size=1000, used=250)
        credits.resets.FromJsonString("2026-12-01T00:00:00Z")
        account.quotas.add(name="storage_bytes", size=5 * 2**30, used=5 * 2**30)
        return account

    def GetWebhookSecret(self, request, context):
        self._let_in(context)
        return edge_pb2.GetWebhookSecretResponse(secret=WEBHOOK_SECRET)

    def CreateKey(self, request, context):
        self._let_in(context)
        self.script.keys_asked.append(request)
        return edge_pb2.CreateKeyResponse(key=api_key(), secret=KEY_SECRET)

    def ListKeys(self, request, context):
        self._let_in(context)
        return edge_pb2.ListKeysResponse(keys=[api_key()] if self.script.has_keys else [])

    def RevokeKey(self, request, context):
        self._let_in(context)
        if request.key_id != API_KEY:
            refuse(context, KeyNotFound(f"no API key {request.key_id} belongs to you"))
        key = api_key()
        key.revoked.FromSeconds(1_734_567_890)
        return edge_pb2.RevokeKeyResponse(key=key)

    def ListWorkers(self, request, context):
        self._let_in(context)
        if self.script.workers_refusal:
            refuse(context, self.script.workers_refusal)
        return self.script.workers

    def _let_in(self, context) -> None:
        if ("authorization", f"Bearer {TOKEN}") not in tuple(context.invocation_metadata()):
            refuse(context, Unauthenticated("the token is not known"))

    def _find(self, job_id: str, context) -> None:
        if job_id != JOB_ID:
            refuse(context, JobNotFound(f"no job {job_id}"))


def stored_image() -> edge_pb2.Asset:
    """The picture that the job made, as it is listed."""
    image = edge_pb2.Asset(key=KEY, job_id=JOB_ID, type=job_pb2.ASSET_TYPE_IMAGE, mime_type="image/png")
    image.bytes, image.sha256 = len(PNG), hashlib.sha256(PNG).hexdigest()
    image.created.FromSeconds(1_734_567_890)
    return image


def api_key() -> edge_pb2.ApiKey:
    """A key of the caller's, as every RPC tells it."""
    key = edge_pb2.ApiKey(id=API_KEY, name="nightly", user_id="ann", tier="basic", scopes=["jobs.read", "jobs.write"])
    key.expires.FromSeconds(1_834_567_890)
    return key


def upload_key(sha256: str) -> str:
    return f"developer/upload_{sha256[:32]}/image_0.png"


def queued() -> edge_pb2.Job:
    """The job as it was accepted."""
    return edge_pb2.Job(id=JOB_ID, type="sdxl_image_high", status=job_pb2.JOB_STATUS_QUEUED)
