"""The audit log: who was refused what, keys made and revoked, policies that came into force. Append-only, no content.

The table `audit` is for operators, by SQL; queue/schema/migrations/0006 says what its columns are.
"""

import logging
from dataclasses import dataclass

from atelier.contracts.errors import DatabaseUnavailable
from edge_service.adapters.database import Database

log = logging.getLogger(__name__)

# Rows of one actor within an hour.
MAX_PER_ACTOR = 1000


@dataclass(frozen=True)
class Entry:
    """One line of the log. `digest` tells texts apart without telling what they say."""

    actor: str
    action: str
    subject: str
    reason: str = ""
    digest: str = ""
    policy_version: str = ""


class Audit:
    """Appends to the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, entry: Entry) -> None:
        """Writes a line to the log of the process and to the table. A database that is away refuses nothing and allows
        nothing: what is recorded has been decided."""
        facts = {name: value for name, value in vars(entry).items() if value}
        log.info("audit", extra=facts)
        values = [*vars(entry).values(), MAX_PER_ACTOR]
        try:
            async with self._database.connection() as connection:
                await connection.execute("SELECT append_audit(%s, %s, %s, %s, %s, %s, %s)", values)
        except DatabaseUnavailable:
            log.warning("the database is away; this line of the audit log is in the process' log alone")
