"""What the functions of the database refuse, as errors for the caller. No SQL here."""

import psycopg

from atelier.contracts.errors import IdempotencyConflict, QueueFull, QuotaExceeded, ReferenceUnusable

# SQLSTATEs that functions of the database raise.
QUEUE_FULL, QUOTA_EXCEEDED, KEY_IN_USE, REFERENCE_GONE = "ATF01", "ATQ01", "ATI01", "ATR01"
REQUESTS = "requests_per_minute"
QUOTAS = {
    REQUESTS: "you may make {size} requests a minute and made {used}",
    "jobs_per_day": "you may submit {size} jobs a day and submitted {used}",
    "credits": "you may spend {size} credits, {used} are spent or reserved, and this needs more than is left",
    "storage_bytes": "you may keep {size} bytes of assets and keep {used}; delete some",
}
QUEUES = {
    "max_queued": "you may have {size} jobs queued and have {used}",
    "max_queued_by_type": "you may have {size} jobs of type {type_name} queued and have {used}",
    "max_turns": "you may have {size} chat turns at once and have {used}",
    "max_queued_by_all": "{size} {worker_type} jobs may be queued in all and {used} are",
}
LIMITS = {"user": "max_queued", "type": "max_queued_by_type", "turns": "max_turns", "all": "max_queued_by_all"}
# A quota of what is kept has no time at which it resets: the owner has to delete something.
STORAGE_SECONDS = 60.0


def refusal(error: psycopg.Error, type_name: str = "", worker_type: str = "") -> Exception:
    """The error that a caller may see; what is no refusal stays what it is."""
    detail = (error.diag.message_detail or "").split()
    if error.sqlstate == KEY_IN_USE:
        return IdempotencyConflict("idempotency_key: was used for another request within the last 24 hours")
    if error.sqlstate == REFERENCE_GONE:
        return ReferenceUnusable("references: a reference picture of this job was deleted; give it again")
    if error.sqlstate == QUEUE_FULL:
        limit, size, used = LIMITS[detail[0]], *detail[1:]
        said = QUEUES[limit].format(size=size, used=used, type_name=type_name, worker_type=worker_type)
        return QueueFull(f"{limit}: {said}; come back when some have started", limit)
    if error.sqlstate == QUOTA_EXCEEDED:
        return _quota(*detail)
    return error


def _quota(limit: str, size: str, used: str, resets: str = "", seconds: str = "") -> QuotaExceeded:
    said = f"{limit}: {QUOTAS[limit].format(size=size, used=used)}"
    if not resets:
        return QuotaExceeded(said, limit, STORAGE_SECONDS)
    return QuotaExceeded(f"{said}; it resets at {resets}, in {float(seconds):.0f} s", limit, float(seconds))
