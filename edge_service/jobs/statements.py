"""Statements that both sides of the job tables need: appending events, ending jobs. Each runs inside the caller's
transaction, on a job whose row the caller has changed and so locked."""

from typing import Any

from edge_service.jobs import records
from edge_service.jobs.database import Connection
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.job.v1 import job_pb2

RUNNING = "('leased', 'processing')"
OPEN = "('queued', 'leased', 'processing')"
# Notification channels; the payload is a job id, or a worker type for NEW.
NEW, CHANGED, STOPPED = "atelier_new", "atelier_changed", "atelier_stopped"


async def close(connection: Connection, row: records.Row, status: str, error: job_pb2.JobError | None) -> None:
    """What every end of a job has: the end of its attempt and its last event."""
    await end_attempt(connection, row["id"], row["attempt"], error)
    # The event names the job and its state; whoever reads it gets the whole job as it then stands.
    ended = edge_pb2.Job(id=row["id"], user_id=row["owner"], status=records.status(status))
    await append(connection, row["id"], edge_pb2.JobEvent(ended=ended))


async def end_attempt(connection: Connection, job_id: str, number: int, error: job_pb2.JobError | None) -> None:
    await connection.execute(
        "UPDATE attempts SET ended = now(), error = %s WHERE job_id = %s AND number = %s AND ended IS NULL",
        [error and error.SerializeToString(), job_id, number],
    )


async def append(connection: Connection, job_id: str, event: edge_pb2.JobEvent) -> None:
    await connection.execute(
        "WITH job AS (UPDATE jobs SET last_sequence = last_sequence + 1 WHERE id = %s RETURNING id, last_sequence)"
        " INSERT INTO events (job_id, sequence, event) SELECT id, last_sequence, %s FROM job",
        [job_id, event.SerializeToString()],
    )
    await connection.execute("SELECT pg_notify(%s, %s)", [CHANGED, job_id])


async def fetch_all(connection: Connection, query: str, values: Any) -> list[Any]:
    cursor = await connection.execute(query, values)
    return await cursor.fetchall()
