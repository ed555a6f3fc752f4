"""What accounts have used of their quotas, and of their rate limit of requests. What counts, and how exactly, is said
by the functions of the database, queue/schema/functions: check_quotas, count_use and used_by."""

from dataclasses import dataclass
from datetime import datetime

import psycopg

from edge_service.accounts.refusals import refusal
from edge_service.accounts.tiers import Quotas
from edge_service.adapters.database import Database, fetch_all

# Arguments of the database's type `quotas`.
QUOTAS = "ROW(%s, %s, %s, %s, %s, %s)::quotas"
USAGE = """
SELECT used.*, queued.*, turns, running, keys,
    end_of('minute') AS minute_ends, end_of('day') AS day_ends, end_of(%(period)s) AS period_ends
FROM used_by(%(owner)s, %(period)s) AS used, (
    SELECT coalesce(sum(count), 0)::integer AS queued, coalesce(max(count), 0) AS queued_of_one_type FROM (
        SELECT count(*) FROM jobs WHERE owner = %(owner)s AND status = 'queued' AND NOT interactive GROUP BY type
    ) AS of_type
) AS queued, (
    SELECT count(*) AS turns FROM jobs WHERE owner = %(owner)s AND interactive AND ended IS NULL
) AS turns, (
    SELECT count(*) AS running FROM jobs WHERE owner = %(owner)s AND lease_expires IS NOT NULL AND NOT interactive
) AS running, (
    SELECT count(*) AS keys FROM api_keys WHERE owner = %(owner)s AND revoked IS NULL AND expires > now()
) AS keys"""


@dataclass(frozen=True)
class Usage:
    """What an account uses now, and when what counts over time is forgotten."""

    requests: int
    jobs: int
    """Accepted today."""
    credits: int
    """Spent or reserved in the period."""
    bytes: int
    queued: int
    queued_of_one_type: int
    """Of the type with most of them."""
    turns: int
    running: int
    keys: int
    """API keys in force."""
    minute_ends: datetime
    day_ends: datetime
    period_ends: datetime


def quota_values(quotas: Quotas, counted: bool = False) -> list[object]:
    """The values for QUOTAS; the request is not counted again if it was `counted` before."""
    requests = None if counted else quotas.requests_per_minute
    return [
        requests, quotas.max_running, quotas.jobs_per_day, quotas.credits_per_period, quotas.period,
        quotas.storage_bytes,
    ]  # fmt: skip


class Accounts:
    """Every read of what accounts used, and the counting of what is no job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(self, owner: str, quotas: Quotas) -> Usage:
        """What an owner uses now."""
        async with self._database.connection() as connection:
            [row] = await fetch_all(connection, USAGE, {"owner": owner, "period": quotas.period})
        return Usage(**row)

    async def count_request(self, owner: str, quotas: Quotas) -> None:
        """Counts a request that stores no job. Raises QuotaExceeded if there were too many in this minute."""
        await self._call("SELECT count_request(%s, %s)", [owner, quotas.requests_per_minute])

    async def check(self, owner: str, quotas: Quotas, credits: int) -> None:
        """Raises QuotaExceeded if a job would be refused now. Reserves nothing: storing the job checks again."""
        await self._call(f"SELECT check_quotas(%s, %s, {QUOTAS})", [owner, credits, *quota_values(quotas, True)])

    async def check_storage(self, owner: str, most: int) -> None:
        """Raises QuotaExceeded if an owner keeps as many bytes as they may."""
        values = [owner, 0, None, None, None, None, "day", most]
        await self._call(f"SELECT check_quotas(%s, %s, {QUOTAS})", values)

    async def _call(self, query: str, values: list[object]) -> None:
        try:
            async with self._database.connection() as connection:
                await connection.execute(query.encode(), values)
        except psycopg.Error as error:
            raise refusal(error) from None
