"""Reads jobs by id for many callers at once."""

import asyncio

from edge_service.adapters.database import Database, Row, fetch_all
from edge_service.queue.job_query import JOBS

# Owner and id: another owner's job is not found.
Key = tuple[str, str]


class JobReader:
    """Reads with one query at a time: calls that come while it runs share the next one, which costs little more.

    A call never gets what was read before it came, so a caller sees its own writes.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: set[Key] = set()
        self._next: asyncio.Task[dict[Key, Row]] | None = None
        self._reading = asyncio.Lock()

    async def row(self, owner: str, job_id: str) -> Row | None:
        """The row of one job of this owner, for `job_message`; None if there is none. Raises DatabaseUnavailable."""
        self._asked.add((owner, job_id))
        if self._next is None:
            self._next = asyncio.create_task(self._read())
            # All callers may have gone away by the time it fails.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Shielded: one caller's cancellation must not end it for the others.
        found = await asyncio.shield(self._next)
        return found.get((owner, job_id))

    async def _read(self) -> dict[Key, Row]:
        async with self._reading:
            asked, self._asked, self._next = list(self._asked), set(), None
            values = {"owners": [owner for owner, _ in asked], "ids": [job_id for _, job_id in asked]}
            async with self._database.connection() as connection:
                rows = await fetch_all(connection, JOBS, values)
        return {(row["owner"], row["id"]): row for row in rows}
