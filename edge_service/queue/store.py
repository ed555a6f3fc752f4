"""What owners do with their jobs and assets. SQL lives in the files of this folder and in schema/ alone.

The state machine of a job: queued -> leased -> processing -> completed | failed | cancelled | expired. The database
refuses every other move; the rules are functions, one a file, in schema/functions.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.errors import UniqueViolation

from atelier.contracts.errors import AssetNotFound, AtelierError, JobNotEnded, JobNotFound, QuotaExceeded
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.accounts.quotas import QUOTAS, Accounts, quota_values
from edge_service.accounts.refusals import REQUESTS, refusal
from edge_service.accounts.tiers import Limits
from edge_service.adapters.database import Database, fetch_all, fetch_value
from edge_service.adapters.notifications import CALLBACKS, CHANGED, NEW, STOPPED, Notifications
from edge_service.domain.job_id import new_job_id
from edge_service.domain.kinds import KINDS, kind_of
from edge_service.domain.plan import Plan
from edge_service.queue.estimates.cost_model import Cost
from edge_service.queue.job_query import COLUMNS, EARLIER, HISTORY, page_query
from edge_service.queue.job_reader import JobReader
from edge_service.queue.rows import asset_message, job_message
from edge_service.queue.sql import QUEUED, ended

# A page of jobs is well below the 4 MiB that a gRPC client takes.
MAX_PAGE_BYTES = 2**20
ENDED_PLAN = """
SELECT status, type, worker_type, plan, decisions, created, ended, deadline, priority, needs, credits, webhook_url,
    webhook_on_start
FROM jobs WHERE id = %s AND owner = %s"""
CANCELLED = job_pb2.JobError(reason=job_pb2.ERROR_REASON_CANCELLED, message="cancelled by its owner")


@dataclass(frozen=True)
class Submission:
    """A plan, whose it is, and how it stands among other jobs.

    `key` and `digest` tell one submission from another: the caller's key, "" for none, and the SHA-256 of the request.
    `counted` says that its request was counted before, because work was done for it.
    """

    owner: str
    plan: Plan
    cost: Cost
    limits: Limits
    key: str = ""
    digest: bytes = b""
    interactive: bool = False
    retry_of: str = ""
    counted: bool = False


class Store:
    """Every read and write on behalf of an owner."""

    def __init__(self, database: Database, notifications: Notifications) -> None:
        self._database, self._notifications = database, notifications
        self._reader = JobReader(database)
        self.accounts = Accounts(database)

    async def create(self, submission: Submission) -> edge_pb2.Job:
        """Stores a queued job and its first event; a submission that was stored before returns its job.

        Raises IdempotencyConflict if its key stands for another, QueueFull if too many jobs wait, QuotaExceeded if a
        quota of its owner is used up, and ReferenceUnusable if one of its reference pictures was deleted meanwhile.
        """
        while True:
            plan = submission.plan
            job_id = new_job_id(plan.worker_type, plan.type_name, time.time())
            try:
                async with self._database.connection() as connection:
                    keys = kind_of(plan.job).reference_keys(plan.job)
                    query, values = (SUBMIT_WITH_REFERENCES, [keys]) if keys else (SUBMIT, [])
                    [row] = await fetch_all(connection, query, _values(submission, job_id) + values)
                break
            except UniqueViolation:
                continue  # the random suffix was taken within this second
            except psycopg.Error as error:
                raise await self._counted(refusal(error, plan.type_name, plan.worker_type), submission) from None
        self._notifications.notify(NEW, plan.worker_type)
        return job_message(row)

    async def earlier(self, owner: str, key: str, digest: bytes) -> edge_pb2.Job | None:
        """The job that this key and request stand for; None if there is none. Raises nothing for another request."""
        if not key:
            return None
        async with self._database.connection() as connection:
            rows = await fetch_all(connection, EARLIER, {"owner": owner, "key": key, "request": digest})
        return job_message(rows[0]) if rows else None

    async def ended_plan(self, owner: str, job_id: str) -> Plan:
        """What an ended job of this owner executed. Raises JobNotFound, JobNotEnded."""
        async with self._database.connection() as connection:
            row = await (await connection.execute(ENDED_PLAN, [job_id, owner])).fetchone()
        if row is None:
            raise _not_found(job_id)
        if row["ended"] is None:
            raise JobNotEnded(f"job {job_id} is {row['status']}: only an ended job can be repeated")
        webhook = edge_pb2.Webhook(url=row["webhook_url"], on_start=row["webhook_on_start"])
        return Plan(
            row["type"], row["worker_type"], KINDS[row["worker_type"]].job_class.FromString(row["plan"]),
            edge_pb2.Job.FromString(row["decisions"]),
            (row["deadline"] - row["created"]).total_seconds(), row["priority"], row["needs"], row["credits"],
            webhook if row["webhook_url"] else None,
        )  # fmt: skip

    async def job(self, owner: str, job_id: str) -> edge_pb2.Job:
        """One job of this owner. Raises JobNotFound, also for a job of another owner."""
        row = await self._reader.row(owner, job_id)
        if row is None:
            raise _not_found(job_id)
        return job_message(row)

    async def jobs(
        self, owner: str, statuses: Sequence[str], before: tuple[datetime, str] | None, limit: int,
        max_bytes: int = MAX_PAGE_BYTES,
    ) -> list[edge_pb2.Job]:  # fmt: skip
        """The owner's jobs, newest first, those older than `before` (created, id).

        None follows those that have `max_bytes` together as they are stored, so that a page of large jobs stays small.
        """
        created, last_id = before or (None, None)
        values = {"owner": owner, "statuses": list(statuses), "created": created, "id": last_id, "limit": limit}
        async with self._database.connection() as connection:
            query = page_query(bool(statuses), before is not None)
            return [job_message(row) for row in await fetch_all(connection, query, {**values, "max_bytes": max_bytes})]

    async def cancel(self, owner: str, job_id: str) -> edge_pb2.Job:
        """Ends an open job as cancelled; an ended one stays as it is. Raises JobNotFound."""
        values = [job_id, owner, CANCELLED.SerializeToString(), CANCELLED.reason, ended("cancelled")]
        async with self._database.connection() as connection:
            ran: bool | None = await fetch_value(connection, "SELECT cancel_job(%s, %s, %s, %s, %s)", values)
        if ran:
            self._notifications.notify(STOPPED, job_id)
        if ran is not None:
            self._notifications.notify(CHANGED, job_id)
        job = await self.job(owner, job_id)
        if ran is not None and job.HasField("webhook"):
            self._notifications.notify(CALLBACKS, "")
        return job

    async def asset(self, owner: str, key: str) -> edge_pb2.Asset:
        """One asset of this owner. Raises AssetNotFound, also for an asset of another owner."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT * FROM assets WHERE key = %s AND owner = %s AND deleted IS NULL", [key, owner]
            )
            row = await cursor.fetchone()
        if row is None:
            raise AssetNotFound("no asset with this key belongs to you")
        return asset_message(row)

    async def assets(self, owner: str, before: tuple[datetime, str] | None, limit: int) -> list[edge_pb2.Asset]:
        """The owner's assets, newest first, those older than `before` (created, key)."""
        query = "SELECT * FROM assets WHERE owner = %(owner)s AND deleted IS NULL"
        query += " AND (created, key) < (%(created)s, %(key)s)" if before else ""
        created, key = before or (None, None)
        values = {"owner": owner, "created": created, "key": key, "limit": limit}
        async with self._database.connection() as connection:
            rows = await fetch_all(connection, query + " ORDER BY created DESC, key DESC LIMIT %(limit)s", values)
        return [asset_message(row) for row in rows]

    async def delete_asset(self, owner: str, key: str) -> None:
        """Hides one asset of this owner from everyone. Its row goes with housekeeping, once its file has gone.

        Raises AssetNotFound, also for one of another owner or that was deleted before, and JobNotEnded if an open
        job needs it.
        """
        async with self._database.connection() as connection:
            needed_by: str | None = await fetch_value(connection, "SELECT delete_asset(%s, %s)", [key, owner])
        if needed_by is None:
            raise AssetNotFound("no asset with this key belongs to you")
        if needed_by:
            raise JobNotEnded(f"key: job {needed_by} needs it as a reference; cancel it, or let it end")

    async def secret(self, name: str, fresh: bytes) -> bytes:
        """The secret of this name that all replicas share; `fresh` becomes it if there is none."""
        async with self._database.connection() as connection:
            await connection.execute("INSERT INTO secrets VALUES (%s, %s) ON CONFLICT DO NOTHING", [name, fresh])
            cursor = await connection.execute("SELECT value FROM secrets WHERE name = %s", [name])
            row = await cursor.fetchone()
        assert row is not None
        return bytes(row["value"])

    async def _counted(self, refused: Exception, submission: Submission) -> Exception:
        """A refusal is a request too, but counting inside the statement that refused it was undone with it."""
        is_of_requests = isinstance(refused, QuotaExceeded) and refused.limit == REQUESTS
        uncounted = isinstance(refused, AtelierError) and not is_of_requests
        if uncounted and not submission.counted:
            await self.accounts.count_request(submission.owner, submission.limits.quotas)
        return refused


SUBMITTED = f"SELECT {COLUMNS} FROM submit_job({', '.join(['%s'] * 24)}, {QUOTAS}) AS jobs"
SUBMIT = f"{SUBMITTED} {HISTORY}"
SUBMIT_WITH_REFERENCES = f"{SUBMITTED} CROSS JOIN LATERAL hold_references(jobs.id, jobs.owner, %s) {HISTORY}"


def _values(submission: Submission, job_id: str) -> list[object]:
    """The arguments of submit_job."""
    plan, cost, limits = submission.plan, submission.cost, submission.limits
    kind_of(plan.job).set_ids(plan.job, job_id, submission.owner)
    webhook = (plan.webhook.url, plan.webhook.on_start) if plan.webhook else (None, False)
    return [
        job_id, submission.owner, plan.type_name, plan.worker_type, submission.interactive,
        plan.job.SerializeToString(), plan.record.SerializeToString(), plan.deadline_seconds, plan.priority, cost.kind,
        cost.seconds, cost.spread, cost.samples, list(plan.needs), plan.credits, *webhook, submission.retry_of or None,
        submission.key, submission.digest, QUEUED, limits.of_user, limits.of_type, limits.of_all,
        *quota_values(limits.quotas, submission.counted),
    ]  # fmt: skip


def _not_found(job_id: str) -> JobNotFound:
    return JobNotFound(f"no job {job_id} belongs to you")
