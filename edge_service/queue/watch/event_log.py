"""Reading jobs' events: a page for one watcher, or what is new for all of them in one query."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from atelier.contracts.errors import JobNotFound
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.adapters.database import Database, Row, fetch_all
from edge_service.queue.rows import TERMINAL
from edge_service.queue.sql import ended

# One statement sees one moment: an event that ends the job cannot slip in between its state and its events.
PAGE = """
SELECT jobs.status, jobs.last_sequence, jobs.ended, new.* FROM jobs LEFT JOIN LATERAL (
    SELECT sequence, time, event FROM events WHERE job_id = jobs.id AND sequence > %s ORDER BY sequence LIMIT %s
) AS new ON true WHERE jobs.id = %s AND jobs.owner = %s ORDER BY new.sequence"""
NEWS = """
SELECT watched.id, new.* FROM unnest(%s::text[], %s::bigint[]) AS watched(id, after) CROSS JOIN LATERAL (
    SELECT sequence, time, event FROM events WHERE job_id = watched.id AND sequence > watched.after
    ORDER BY sequence LIMIT %s
) AS new ORDER BY watched.id, new.sequence"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it is sent. All watchers of its job share it, so it is never changed."""

    sequence: int
    response: edge_pb2.WatchJobResponse

    @property
    def is_last(self) -> bool:
        return self.response.event.HasField("ended")

    @property
    def leaves_queued(self) -> bool:
        """Whether the job was queued after it."""
        event = self.response.event
        return event.status == job_pb2.JOB_STATUS_QUEUED or event.HasField("retry")


class Page(NamedTuple):
    """Events of one job in order. What follows a full page is read next; after the others there was nothing more."""

    entries: list[Entry]
    is_full: bool
    has_ended: bool
    is_queued: bool
    last_sequence: int


class EventLog:
    """The events of all jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, owner: str, job_id: str, after: int, limit: int) -> Page:
        """The first events of the owner's job after a sequence number. Raises JobNotFound.

        The last event of an ended job is never missing, even if the log was pruned down to nothing.
        """
        async with self._database.connection() as connection:
            rows = await fetch_all(connection, PAGE, [after, limit, job_id, owner])
        if not rows:
            raise JobNotFound(f"no job {job_id} belongs to you")
        status, last = rows[0]["status"], rows[0]["last_sequence"]
        entries = [_entry(row) for row in rows if row["sequence"] is not None]
        is_full, has_ended = len(entries) == limit, status in TERMINAL
        if has_ended and not is_full and max(after, entries[-1].sequence if entries else 0) < last:
            entries.append(_entry({"sequence": last, "time": rows[0]["ended"], "event": ended(status)}))
        return Page(entries, is_full, has_ended, status == "queued", last)

    async def news(self, after: Mapping[str, int], limit: int) -> dict[str, list[Entry]]:
        """The first events of each job after the sequence number given for it, in one query for all."""
        found: dict[str, list[Entry]] = defaultdict(list)
        async with self._database.connection() as connection:
            for row in await fetch_all(connection, NEWS, [list(after), list(after.values()), limit]):
                found[row["id"]].append(_entry(row))
        return found


def _entry(row: Row) -> Entry:
    response = edge_pb2.WatchJobResponse()
    event = response.event
    event.MergeFromString(row["event"])
    event.sequence = row["sequence"]
    event.time.FromDatetime(row["time"])
    return Entry(event.sequence, response)
