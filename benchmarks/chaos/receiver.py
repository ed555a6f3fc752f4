"""The receiver of callbacks: verifies each as a receiver should, and remembers it."""

import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atelier.webhooks import InvalidSignature, verify
from benchmarks.chaos.store import Final
from edge_service.doors.http.server import HttpServer

STARTED = "processing"


@dataclass
class Receiver:
    """What came, by job, in the order it came."""

    address: str
    secrets: dict[str, str] = field(default_factory=dict)
    """By user; each user's callbacks go to a path of his name."""
    statuses: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    forged: int = 0

    def url(self, user: str) -> str:
        return f"http://{self.address}/{user}"

    async def take(self, request: Request) -> Response:
        body = await request.body()
        try:
            event = verify(body, dict(request.headers), self.secrets[request.url.path.strip("/")])
        except InvalidSignature:
            self.forged += 1
            return Response(status_code=400)
        self.statuses[event.callback["job_id"]].append(event.callback["status"])
        return Response()

    def wrong(self, final: Final) -> Iterator[tuple[str, str]]:
        """What was told and is not so, or not in order."""
        if self.forged:
            yield "", f"{self.forged} callbacks were not signed with their user's secret"
        for job_id, told in self.statuses.items():
            ends = {status for status in told if status != STARTED}
            if job_id not in final.jobs or ends - {final.jobs[job_id].status}:
                yield job_id, f"was told to be {sorted(ends)}"
            if ends and STARTED in told[told.index(min(ends)) :]:
                yield job_id, f"was told in the order {told}"
        for job in final.jobs.values():
            delivered = any(row["state"] == "delivered" for row in job.outbox if row["number"] == 2)
            if delivered and job.status not in self.statuses[job.id]:
                yield job.id, "is said to be delivered, and nothing came"


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver that is running."""
    server = HttpServer("127.0.0.1:0")
    receiver = Receiver(server.address)
    server.start(Starlette(routes=[Route("/{path:path}", receiver.take, methods=["POST"])]))
    try:
        yield receiver
    finally:
        await server.close()
