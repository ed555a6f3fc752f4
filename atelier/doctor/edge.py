"""Whether an edge runs, and what is connected to it."""

from atelier.client import AsyncClient
from atelier.connection import NOWHERE
from atelier.doctor.finding import Finding, State
from atelier.errors import AtelierError, EdgeUnreachable, PermissionDenied, Unauthenticated
from atelier.pb.edge.v1 import edge_pb2

NOT_RUNNING = "`atelier up` starts one; for one elsewhere set ATELIER_EDGE and ATELIER_TOKEN"


async def running_edge(address: str = "") -> list[Finding]:
    """Findings about the edge at this address, or where one is looked for, and about its workers."""
    try:
        async with AsyncClient(address) as client:
            return [Finding("edge", State.OK, client.address), *await _workers(client)]
    except EdgeUnreachable as error:
        return [Finding("edge", State.NOTE, f"none at {error.address}", NOT_RUNNING)]
    except Unauthenticated as error:
        return [_unauthenticated(error)]
    except AtelierError as error:
        return [Finding("edge", State.WRONG, error.message, "its log says more")]


async def _workers(client: AsyncClient) -> list[Finding]:
    try:
        return [_worker(worker) for worker in await client.workers()]
    except PermissionDenied:  # the edge knows the caller, who does not operate it
        return [Finding("workers", State.NOTE, "this token may not see them", "for that take a token of an operator")]


def _worker(worker: edge_pb2.Worker) -> Finding:
    found = worker.description
    what = f"worker {found.worker_id or worker.address}"
    if not worker.HasField("status"):
        return Finding(what, State.WRONG, f"{worker.address} does not answer", "start it, or look into its log")
    if not worker.status.accepting:
        return Finding(what, State.WRONG, f"{worker.address} takes no work", "it is starting or stopping; see its log")
    models = ", ".join(model.real_name for model in found.models)
    return Finding(
        what, State.OK, f"{models} on {found.device}, {worker.status.free_slots} of {worker.status.slots} free"
    )


def _unauthenticated(error: Unauthenticated) -> Finding:
    if error.message.startswith(NOWHERE):
        return Finding("edge", State.NOTE, error.message, NOT_RUNNING)
    return Finding("edge", State.WRONG, error.message, "set ATELIER_TOKEN to the edge's token")
