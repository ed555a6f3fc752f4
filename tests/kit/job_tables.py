"""The tables of jobs as the edge's two sides use them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from atelier.contracts.json_form import from_spec_dict
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from edge_service.accounts.tiers import Limits, Quotas
from edge_service.adapters.database import Database
from edge_service.adapters.notifications import Notifications
from edge_service.domain.plan import Plan
from edge_service.queue.estimates.cost_model import Cost
from edge_service.queue.leases import Leases, Unwritten
from edge_service.queue.rows import AssetRow, Lease, WorkerSlot
from edge_service.queue.store import Store, Submission
from edge_service.queue.watch.event_log import EventLog
from tests.kit.planned import planned as planned_job

SLOT = WorkerSlot("sdxl", "worker:1", "sdxl_worker_001", 100)
PLENTY = Quotas(
    requests_per_minute=10**6, max_running=10**6, jobs_per_day=10**6, credits_per_period=10**6, period="day",
    storage_bytes=10**12,
)  # fmt: skip


def limits(of_user: int = 10**5, of_type: int = 10**5, of_all: int = 10**5, **quotas: object) -> Limits:
    """Limits of which only those named can be met: `limits(1)`, `limits(jobs_per_day=10)`."""
    return Limits(of_user, of_type, of_all, PLENTY.model_copy(update=quotas))


MANY = limits()


def plan(type_name: str = "sdxl_image_fast", seconds: float = 60, **fields: object) -> Plan:
    """A planned image job."""
    job = {"sdxl": {"type": type_name, "prompt": "a fox"}, "deadline": f"{seconds}s"}
    planned = planned_job(from_spec_dict(edge_pb2.SubmitJobRequest, job))
    return replace(planned, priority=0, **fields)  # type: ignore[arg-type]


def callback(lease: Lease) -> sdxl_pb2.SdxlCallback:
    return sdxl_pb2.SdxlCallback(job_id=lease.job_id, status=job_pb2.JOB_STATUS_COMPLETED)


def asset(lease: Lease) -> AssetRow:
    return AssetRow(f"{lease.owner}/{lease.job_id}/image_0.png", "image", "image/png", 3, "0" * 64)


@dataclass(frozen=True)
class Jobs:
    """Both sides of the tables, and their database."""

    store: Store
    leases: Leases
    database: Database
    notifications: Notifications = field(default_factory=Notifications)

    async def submit(
        self, owner: str = "ann", planned: Plan | None = None, cost: float = 1.0, limits: Limits = MANY, key: str = "",
        digest: bytes = b"a", interactive: bool = False, counted: bool = False,
    ) -> str:  # fmt: skip
        """Stores a job and returns its id."""
        charge = Cost("kind", cost, cost, 0)
        submission = Submission(owner, planned or plan(), charge, limits, key, digest, interactive, counted=counted)
        return (await self.store.create(submission)).id

    async def lease(
        self, count: int = 1, offers: Sequence[str] = (), slot: WorkerSlot = SLOT, ageing: float = 60
    ) -> list[Lease]:
        """Leases jobs for a worker."""
        return await self.leases.lease(slot, offers, count, ageing)

    async def running(self, owner: str = "ann") -> Lease:
        """A job that a worker has begun."""
        await self.submit(owner)
        [lease] = await self.lease()
        last = await self.leases.record(lease, lease.last_sequence, [])
        assert last is not None
        return replace(lease, last_sequence=last)

    async def complete(self, lease: Lease, assets: Sequence[AssetRow] = ()) -> bool:
        """Ends a job with its result."""
        return await self.leases.complete(lease, callback(lease), assets, Unwritten(lease.last_sequence, []))

    async def events(self, job_id: str, owner: str = "ann", after: int = 0) -> list[edge_pb2.JobEvent]:
        """What a watcher reads of a job's log."""
        page = await EventLog(self.database).page(owner, job_id, after, 1000)
        return [entry.response.event for entry in page.entries]

    async def execute(self, query: str, *values: object) -> list[dict[str, object]]:
        """Runs a statement beside the edge's own."""
        async with self.database.connection() as connection:
            cursor = await connection.execute(query.encode(), values or None)
            return [dict(row) for row in await cursor.fetchall()] if cursor.description else []


@pytest.fixture
def jobs(database: Database) -> Jobs:
    notifications = Notifications()
    return Jobs(Store(database, notifications), Leases(database, notifications), database, notifications)
