"""What a receiver is told of a job: the specification's callback, with fresh URLs, and its signature. No SQL."""

import hmac
from hashlib import sha256

from atelier.contracts.json_form import to_spec_json
from atelier.pb.job.v1 import job_pb2
from edge_service.adapters.asset_urls import AssetUrls
from edge_service.adapters.database import Row
from edge_service.domain.kinds import KINDS, Callback
from edge_service.queue.rows import TERMINAL, status_value
from shared.version import package_version

AGENT = f"Atelier/{package_version()}"
MASTER_SECRET = "webhooks"
"""Name of the secret that those of all owners are derived from."""


async def body(row: Row, urls: AssetUrls) -> bytes:
    """The callback of an outbox row joined with its job, as the specification's JSON."""
    told = callback(row)
    for asset in KINDS[row["worker_type"]].files(told):
        asset.url = (await urls.sign(asset.key)).url
    return to_spec_json(told).encode()


def callback(row: Row) -> Callback:
    """The worker's own callback where the job completed, else one that says how it stands and why."""
    cls: type[Callback] = KINDS[row["worker_type"]].callback_class
    if row["status"] == "completed":
        return cls.FromString(row["callback"])
    told = cls(job_id=row["job_id"], worker_id=row["worker_id"] or "", status=status_value(row["status"]))
    if row["status"] in TERMINAL and row["job_error"] is not None:
        told.error.CopyFrom(job_pb2.JobError.FromString(row["job_error"]))
    return told


def headers(row: Row, content: bytes, secret: str, now: int) -> dict[str, str]:
    """What is sent with a body at `now`, in Unix seconds. The event's id is the same whenever it is sent."""
    return {
        "Content-Type": "application/json",
        "User-Agent": AGENT,
        "Atelier-Event-Id": f"{row['job_id']}.{row['number']}",
        "Atelier-Timestamp": str(now),
        "Atelier-Signature": f"v1={_hmac(secret.encode(), f'{now}.'.encode() + content)}",
    }


def secret_of(master: bytes, owner: str) -> str:
    """The secret that signs the callbacks of one owner's jobs, derived from the master secret."""
    return _hmac(master, f"webhook:{owner}".encode())


def _hmac(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, sha256).hexdigest()
