"""What clients asked and were told, in the order of the answers."""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from atelier.pb.edge.v1 import edge_pb2
from edge_service.queue.rows import status_word


@dataclass(frozen=True)
class Entry:
    """One call. `reply` is the answer's job; `error` the status of a call that failed. Times since the epoch."""

    user: str
    operation: str
    key: str
    job_id: str
    request: Any
    reply: edge_pb2.Job | None
    error: str
    started: float
    ended: float

    def line(self) -> str:
        """As a report shows it."""
        told = self.error or (f"{status_word(self.reply.status)} #{self.reply.last_sequence}" if self.reply else "")
        job = self.reply.id if self.reply else self.job_id
        return (
            f"{self.started:.3f} +{self.ended - self.started:.3f} {self.user} {self.operation} {self.key} {job}: {told}"
        )


@dataclass
class Watch:
    """What one watcher saw of one job, over all its connections."""

    user: str
    job_id: str
    after: int
    events: list[edge_pb2.JobEvent] = field(default_factory=list)
    connections: int = 0
    heard: float = 0.0
    """When the last message came, heartbeats included."""
    finished: bool = False


class History:
    """Everything, kept in memory until it is checked."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.watches: list[Watch] = []

    def add(self, user: str, operation: str, key: str, job_id: str, request: Any, started: float) -> "Answer":
        return Answer(self, user, operation, key, job_id, request, started)

    def of_job(self, job_id: str) -> list[Entry]:
        """The calls that concern a job."""
        keys = {entry.key for entry in self.entries if entry.key and entry.reply and entry.reply.id == job_id}
        return [
            entry
            for entry in self.entries
            if entry.job_id == job_id or (entry.reply and entry.reply.id == job_id) or entry.key in keys
        ]

    def acknowledged(self) -> dict[str, list[Entry]]:
        """The answered submissions and repetitions, by job."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            if entry.reply and entry.operation in ("submit", "retry"):
                found[entry.reply.id].append(entry)
        return found

    def unfinished(self, key: str) -> list[str]:
        """The watches of a key's job that saw no end."""
        jobs = {entry.reply.id for entry in self.entries if entry.key == key and entry.reply}
        return [
            f"{watch.job_id} from {watch.after}, {watch.connections} connections, "
            f"{len(watch.events)} events, silent for {time.time() - watch.heard:.0f} s"
            for watch in self.watches
            if watch.job_id in jobs and not watch.finished
        ]

    def failures(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.error]


@dataclass(frozen=True)
class Answer:
    """A call under way."""

    history: History
    user: str
    operation: str
    key: str
    job_id: str
    request: Any
    started: float

    def told(self, reply: edge_pb2.Job | None, error: str = "") -> None:
        entry = Entry(
            self.user, self.operation, self.key, self.job_id, self.request, reply, error, self.started, time.time()
        )
        self.history.entries.append(entry)
