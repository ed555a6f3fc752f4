"""The final store as the checks read it: plain rows, read by SQL past every line of the edge."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = Mapping[str, Any]
ENDED = ("completed", "failed", "cancelled", "expired")


@dataclass(frozen=True)
class Job:
    """One job's rows of every table."""

    row: Row
    attempts: Sequence[Row]
    events: Sequence[Row]
    assets: Sequence[Row]
    ledger: Sequence[Row]
    outbox: Sequence[Row]

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def status(self) -> str:
        return str(self.row["status"])


@dataclass(frozen=True)
class Final:
    """All jobs by id, the keys, and where the files are."""

    jobs: Mapping[str, Job]
    keys: Mapping[tuple[str, str], str]
    shares: Sequence[Row]
    library: Path


async def read(url: str, library: Path) -> Final:
    """The store as it stands."""
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:

        async def rows(query: str) -> list[dict[str, Any]]:
            return await (await connection.execute(query.encode())).fetchall()

        async def by_job(query: str) -> dict[str, list[Row]]:
            found: dict[str, list[Row]] = defaultdict(list)
            for row in await rows(query):
                found[row["job_id"]].append(row)
            return found

        attempts = await by_job("SELECT * FROM attempts ORDER BY number")
        events = await by_job("SELECT * FROM events ORDER BY sequence")
        assets = await by_job("SELECT * FROM assets WHERE deleted IS NULL ORDER BY key")
        ledger = await by_job("SELECT * FROM ledger ORDER BY kind")
        outbox = await by_job("SELECT * FROM outbox ORDER BY number")
        jobs = {
            row["id"]: Job(
                row, attempts[row["id"]], events[row["id"]], assets[row["id"]], ledger[row["id"]], outbox[row["id"]]
            )
            for row in await rows("SELECT * FROM jobs")
        }
        keys = {(row["owner"], row["key"]): row["job_id"] for row in await rows("SELECT * FROM idempotency")}
        return Final(jobs, keys, await rows("SELECT * FROM shares"), library)


async def open_jobs(url: str) -> int:
    """How many jobs have not ended."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute("SELECT count(*) FROM jobs WHERE ended IS NULL")).fetchone()
        return int(row[0]) if row else 0
