"""One leased job on one worker: relay its stream, and record its end exactly once."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import grpc

from atelier.contracts import errors
from atelier.contracts.validation import enum_word
from atelier.pb.job.v1 import job_pb2
from edge_service.domain.job_types import job_types
from edge_service.domain.kinds import Callback, kind_of
from edge_service.fleet import Placement, Worker
from edge_service.queue.estimates.cost_model import CostModel
from edge_service.queue.leases import Leases, Unwritten
from edge_service.queue.retries import MAX_ATTEMPTS, Retry, retry_after, retry_until_database_is_back
from edge_service.queue.rows import AssetRow, Lease, WorkerSlot
from shared.assets import KEY, AssetStore, attempt_folder

log = logging.getLogger(__name__)

# What says something about the worker, not about the job.
WORKER_FAULTS = (errors.WorkerLost, errors.StorageUnavailable, errors.EngineFailed)


class Running(NamedTuple):
    """One call to a worker. `began` is a monotonic time."""

    lease: Lease
    call: Any
    began: float


class Execution:
    """Executes leases. Shared by the dispatcher, which logs the events, and by Chat, which hands them to its caller."""

    def __init__(self, leases: Leases, assets: AssetStore, costs: CostModel) -> None:
        self._leases, self._assets, self._costs = leases, assets, costs
        # By attempt, not by job: a new attempt may begin while the one before it still ends.
        self._running: dict[tuple[str, int], Running] = {}

    async def events(self, lease: Lease, worker: Worker) -> AsyncGenerator[Any, None]:
        """Yields the worker's GenerateResponses, the callback last; give that to `complete`.

        Raises AtelierError if the worker fails or the lease is lost. Closing the iterator stops the worker."""
        with worker.occupied():
            seconds_left = (lease.deadline - datetime.now(UTC)).total_seconds()
            request = kind_of(lease.job).request(lease.job, lease.job_id, lease.owner, lease.attempt)
            call = worker.generate(request, timeout=max(seconds_left, 0.001))
            self._running[lease.job_id, lease.attempt] = Running(lease, call, time.monotonic())
            try:
                async for event in call:
                    yield event
            except grpc.aio.AioRpcError as error:
                failure = errors.from_rpc_error(error)
                if type(failure) is errors.WorkerLost:  # in place of what gRPC says of its sockets
                    failure = errors.WorkerLost("the connection to the worker broke while it had the job")
                if isinstance(
                    failure, errors.Unauthenticated
                ):  # it has another token now; that is not its caller's fault
                    worker.failed(errors.WorkerLost("the worker does not know this edge"), lease.owner)
                    failure = errors.Draining("the worker does not know this edge")
                if isinstance(failure, errors.Cancelled):
                    failure = errors.WorkerLost("the worker gave up the job without being asked to")
                if isinstance(failure, WORKER_FAULTS):
                    worker.failed(failure, lease.owner)
                raise failure from None
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) and task.cancelling():
                    raise  # not the call was cancelled, but the task that reads it
                raise errors.Cancelled("the job was stopped") from None
            finally:
                call.cancel()
                del self._running[lease.job_id, lease.attempt]

    def stop(self, lease: Lease) -> None:
        """Ends the call of a running job: `events` raises Cancelled."""
        if running := self._running.get((lease.job_id, lease.attempt)):
            running.call.cancel()

    async def renew(self) -> None:
        """Extends the leases of all running jobs, and stops those whose lease is lost: cancelled, or taken over."""
        if running := list(self._running.values()):
            held = await self._leases.renew([one.lease for one in running])
            for one in running:
                if (one.lease.job_id, one.lease.attempt) not in held:
                    one.call.cancel()

    async def complete(self, lease: Lease, worker: Worker, callback: Callback, rest: Unwritten) -> None:
        """Stores the result, and waits for the database if it is away. Raises Cancelled if the lease is lost."""
        rows = _asset_rows(lease, callback)
        _finish(lease, callback)
        worker.succeeded()
        seconds = time.monotonic() - self._running[lease.job_id, lease.attempt].began
        if not await retry_until_database_is_back(lambda: self._leases.complete(lease, callback, rows, rest)):
            # Cancelled, or given to another worker: no row will ever name these files.
            await self._assets.delete(*(row.key for row in rows))
            raise errors.Cancelled("the job ended before its result came")
        if worker.description:
            self._costs.learn(lease, worker.description.worker_id, seconds)

    async def fail_or_requeue(self, lease: Lease, error: errors.AtelierError) -> None:
        """Ends or requeues a job whose attempt failed with `error`; does nothing if the lease is lost."""
        record = errors.to_job_error(error)
        log.info("attempt failed", extra={"job_id": lease.job_id, "reason": errors.reason_word(error)})
        # The caller of an interactive job is there and is told: it gets no further attempt.
        if not lease.interactive and (retry := await self._retry(lease, error)):
            await self._leases.requeue(lease, record, retry.delay_seconds, retry.counts)
        else:
            await self._leases.fail(lease, _terminal_state(error), record)

    @contextlib.asynccontextmanager
    async def attempt(self, lease: Lease) -> AsyncIterator[None]:
        """Records how the block ends and raises what ended it again: no leased job is left behind.

        An error of ours fails or requeues the job. Where the block is cancelled or closed, a turn of a chat is
        cancelled with it, for its caller has gone; another job goes back to the queue, for this replica stops.
        """
        try:
            yield
        except errors.AtelierError as error:
            await self._record(self.fail_or_requeue(lease, error))
            raise
        except (asyncio.CancelledError, GeneratorExit):
            if lease.interactive:
                gone = errors.Cancelled("the call ended before the answer was complete")
                await self._record(self.fail_or_requeue(lease, gone))
            else:
                stopped = errors.to_job_error(errors.Draining("the edge stopped"))
                await self._record(self._leases.requeue(lease, stopped, 0.0, counts=False))
            raise
        except Exception:
            log.exception("job failed unexpectedly", extra={"job_id": lease.job_id})
            await self._record(self.fail_or_requeue(lease, errors.Internal("internal error while executing the job")))
            raise

    async def _record(self, write: Awaitable[object]) -> None:
        # If the database is away the lease runs out, and the sweep of some replica finds the job.
        with contextlib.suppress(errors.DatabaseUnavailable):
            await write

    async def _retry(self, lease: Lease, error: errors.AtelierError) -> Retry | None:
        """The next attempt of a job whose attempt failed with `error`; None if the job fails for it."""
        limited = type(error) in MAX_ATTEMPTS
        failures = await self._leases.failures(lease, errors.to_job_error(error).reason) if limited else 0
        return retry_after(error, failures)


def worker_slot(placement: Placement) -> WorkerSlot | None:
    """The worker slot of a chosen worker, as the tables know it; None if the worker has just been lost."""
    worker = placement.worker
    if worker.description is None or worker.status is None:
        return None
    return WorkerSlot(
        worker.worker_type, worker.address, worker.description.worker_id, worker.status.slots, placement.routing
    )


def _terminal_state(error: errors.AtelierError) -> str:
    if isinstance(error, errors.DeadlineExceeded):
        return "expired"
    return "cancelled" if isinstance(error, errors.Cancelled) else "failed"


def _asset_rows(lease: Lease, callback: Callback) -> list[AssetRow]:
    """The stored files of a callback. The owner is the job's, not the payload's: a key of another owner is refused."""
    if callback.job_id != lease.job_id or callback.status != job_pb2.JOB_STATUS_COMPLETED:
        raise errors.EngineFailed("the worker's result is not that of this job")
    files = kind_of(callback).files(callback)
    prefix = attempt_folder(lease.owner, lease.job_id, lease.attempt)
    if any(not (asset.key.startswith(prefix) and KEY.fullmatch(asset.key)) for asset in files):
        raise errors.EngineFailed("the worker's result belongs to another job")
    return [_asset_row(asset) for asset in files]


def _asset_row(asset: Any) -> AssetRow:
    kind = enum_word("AssetType", job_pb2.AssetType.Name(asset.type))
    found = asset.metadata
    return AssetRow(asset.key, kind, found.mime_type, found.bytes, found.sha256)


def _finish(lease: Lease, callback: Callback) -> None:
    """Writes into a result what only the edge knows."""
    found = job_types().get(lease.type_name)
    kind_of(lease.job).finish(lease.job, callback, bool(found and found.enhanced))
