"""One leased job on one worker: relay its stream, and record its end exactly once."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import grpc

from edge_service.fleet import Worker
from edge_service.jobs.leases import Leases
from edge_service.jobs.records import AssetRow, Callback, Lease
from shared import errors
from shared.assets import AssetStore
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.job.v1 import job_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2
from shared.validation_schemas import enum_word

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
RETRY_SECONDS = 1.0
DATABASE_PATIENCE_SECONDS = 60.0
# The worker could not take the job or went away: another attempt may succeed. All else would fail again.
TRANSIENT = (errors.WorkerLost, errors.NoWorker, errors.StorageUnavailable)
# The worker never began: the attempt is not the job's fault and does not count.
REFUSED = (errors.NoFreeSlot, errors.Draining)
T = TypeVar("T")


class Execution:
    """Executes leases. Shared by the dispatcher, which logs the events, and by Chat, which hands them to its caller."""

    def __init__(self, leases: Leases, assets: AssetStore) -> None:
        self._leases, self._assets = leases, assets
        # By attempt, not by job: a new attempt may begin while the one before it still ends.
        self._running: dict[tuple[str, int], tuple[Lease, Any]] = {}

    async def events(self, lease: Lease, worker: Worker) -> AsyncGenerator[Any, None]:
        """Yields the worker's GenerateResponses, the callback last; give that to `complete`.

        Raises AtelierError if the worker fails or the lease is lost. Closing the iterator stops the worker."""
        assert worker.description is not None
        with worker.occupied():
            if not await self._leases.start(lease, worker.description.worker_id):
                raise errors.Cancelled("the job ended before a worker took it")
            seconds_left = (lease.deadline - datetime.now(UTC)).total_seconds()
            call = worker.generate(_request(lease), timeout=max(seconds_left, 0.001))
            self._running[lease.job_id, lease.attempt] = lease, call
            try:
                async for event in call:
                    yield event
            except grpc.aio.AioRpcError as error:
                raise errors.from_rpc_error(error) from None
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) and task.cancelling():
                    raise  # not the call was cancelled, but whoever reads it
                raise errors.Cancelled("the job was stopped") from None
            finally:
                call.cancel()
                del self._running[lease.job_id, lease.attempt]

    async def renew(self) -> None:
        """Extends the leases of all running jobs, and stops those whose lease is lost: cancelled, or taken over."""
        if running := list(self._running.values()):
            held = await self._leases.renew([lease for lease, _ in running])
            for lease, call in running:
                if (lease.job_id, lease.attempt) not in held:
                    call.cancel()

    async def complete(self, lease: Lease, callback: Callback) -> None:
        """Stores the result, whatever the database is doing now. Raises Cancelled if the lease is lost."""
        rows = _asset_rows(lease, callback)
        _fill(callback)
        if not await persistently(lambda: self._leases.complete(lease, callback, rows)):
            # Cancelled, or given to another worker: nobody will ever ask for these files.
            await self._assets.delete(*(row.key for row in rows))
            raise errors.Cancelled("the job ended before its result came")

    async def settle(self, lease: Lease, error: errors.AtelierError) -> None:
        """Ends or requeues a job whose attempt failed with `error`; does nothing if the lease is lost."""
        record = errors.to_job_error(error)
        log.info("attempt failed", extra={"job_id": lease.job_id, "reason": errors.reason_word(error)})
        if isinstance(error, REFUSED) and not lease.interactive:
            await self._leases.requeue(lease, record, RETRY_SECONDS, counts=False)
        elif isinstance(error, TRANSIENT) and not lease.interactive and await self._may_retry(lease):
            await self._leases.requeue(lease, record, RETRY_SECONDS, counts=True)
        else:
            await self._leases.fail(lease, _terminal_state(error), record)

    async def _may_retry(self, lease: Lease) -> bool:
        return await self._leases.attempts_made(lease) < MAX_ATTEMPTS


async def persistently(write: Callable[[], Awaitable[T]]) -> T:
    """Repeats a write while the database is away: a restart of it must not cost a finished result."""
    for _ in range(int(DATABASE_PATIENCE_SECONDS / RETRY_SECONDS)):
        try:
            return await write()
        except errors.DatabaseUnavailable:
            await asyncio.sleep(RETRY_SECONDS)
    return await write()


def _terminal_state(error: errors.AtelierError) -> str:
    if isinstance(error, errors.DeadlineExceeded):
        return "expired"
    return "cancelled" if isinstance(error, errors.Cancelled) else "failed"


def _request(lease: Lease) -> Any:
    if isinstance(lease.job, sdxl_pb2.SdxlJob):
        return sdxl_pb2.GenerateRequest(job=lease.job)
    if isinstance(lease.job, wan_pb2.WanJob):
        return wan_pb2.GenerateRequest(job=lease.job)
    return chat_pb2.GenerateRequest(job_id=lease.job_id, user_id=lease.owner, request=lease.job)


def _asset_rows(lease: Lease, callback: Callback) -> list[AssetRow]:
    """The stored files of a callback. The owner is the job's, never the payload's: a key of anyone else is refused."""
    if isinstance(callback, chat_pb2.ChatCallback):
        return []
    prefix = f"{lease.owner}/{lease.job_id}/"
    if callback.job_id != lease.job_id or any(not asset.key.startswith(prefix) for asset in callback.assets):
        raise errors.EngineFailed("the worker's result belongs to another job")
    return [_asset_row(asset) for asset in callback.assets]


def _asset_row(asset: sdxl_pb2.SdxlAsset | wan_pb2.WanAsset) -> AssetRow:
    kind = enum_word("AssetType", job_pb2.AssetType.Name(asset.type))
    found = asset.metadata
    return AssetRow(asset.key, kind, found.mime_type, found.bytes, found.sha256)


def _fill(callback: Callback) -> None:
    """Sets what only the edge knows: who improved the prompt."""
    if isinstance(callback, chat_pb2.ChatCallback):
        callback.metadata.enhancement_type = chat_pb2.CHAT_ENHANCEMENT_TYPE_NONE
        return
    callback.metadata.enhancement_source = job_pb2.ENHANCEMENT_SOURCE_NONE
    if isinstance(callback, wan_pb2.WanCallback):
        callback.metadata.auto_enhancement = False
