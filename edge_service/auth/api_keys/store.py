"""API keys as they are stored: the one place with their SQL. No secret is in the table, only its digest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from atelier.contracts.errors import KeyNotFound, QuotaExceeded, Unauthenticated
from edge_service.adapters.database import Connection, Database, Lock
from edge_service.adapters.notifications import KEYS, Notifications

# Keys of one user that are in force at once. Those that ended are forgotten after a while, when a new one is made.
MAX_KEYS = 100
FORGET = "30 days"
MAX_LISTED = 1000


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret."""

    id: str
    digest: bytes
    name: str
    owner: str
    tier: str
    scopes: frozenset[str]
    expires: datetime
    content_mode: int | None = None
    """Of the account that made it, which it inherits."""
    maker: str | None = None
    created: datetime | None = None
    revoked: datetime | None = None
    last_used: datetime | None = None


class ApiKeyStore:
    """Every read and write of keys. They are made and revoked one at a time: a revocation sees every key that its key
    has made, and no more are made with it.
    """

    def __init__(self, database: Database, notifications: Notifications) -> None:
        self._database, self._notifications = database, notifications

    async def add(self, key: ApiKey) -> ApiKey:
        """Stores a new key. Raises QuotaExceeded if its owner has too many, Unauthenticated if its maker ended."""
        async with self._database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.API_KEYS])
            await connection.execute(PRUNE, [key.owner])
            await _check_room(connection, key.owner)
            if key.maker is not None:
                await _check_maker(connection, key.maker)
            [row] = await _rows(connection, INSERT, vars(key) | {"scopes": sorted(key.scopes)})
        return _key(row)

    async def find(self, key_id: str) -> ApiKey | None:
        """The key of this id. Raises DatabaseUnavailable."""
        async with self._database.connection() as connection:
            rows = await _rows(connection, "SELECT * FROM api_keys WHERE id = %s", [key_id])
        return _key(rows[0]) if rows else None

    async def of(self, owner: str) -> list[ApiKey]:
        """The keys of a user, newest first, ended ones too."""
        query = "SELECT * FROM api_keys WHERE owner = %s ORDER BY created DESC, id LIMIT %s"
        async with self._database.connection() as connection:
            return [_key(row) for row in await _rows(connection, query, [owner, MAX_LISTED])]

    async def revoke(self, key_id: str, owner: str | None) -> ApiKey:
        """Revokes a key and all that were made with it; one that is revoked stays as it is.

        Raises KeyNotFound, also for a key of another owner unless `owner` is None.
        """
        async with self._database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.API_KEYS])
            rows = await _rows(connection, REVOKE, {"id": key_id, "owner": owner})
        for row in rows:
            self._notifications.notify(KEYS, row["id"])
        found = [_key(row) for row in rows if row["id"] == key_id]
        if not found:
            raise KeyNotFound(f"no API key {key_id} belongs to you")
        return found[0]

    async def used(self, times: Mapping[str, float]) -> None:
        """Records when keys were last used, in Unix seconds."""
        values = [list(times), [datetime.fromtimestamp(seconds, UTC) for seconds in times.values()]]
        async with self._database.connection() as connection:
            await connection.execute(USED, values)


PRUNE = f"""
    DELETE FROM api_keys WHERE owner = %s AND least(expires, revoked) < now() - interval '{FORGET}'"""
IN_FORCE = "revoked IS NULL AND expires > now()"
INSERT = """
    INSERT INTO api_keys (id, digest, name, owner, tier, scopes, content_mode, expires, maker) VALUES
    (%(id)s, %(digest)s, %(name)s, %(owner)s, %(tier)s, %(scopes)s, %(content_mode)s, %(expires)s, %(maker)s)
    RETURNING *"""
REVOKE = """
    WITH RECURSIVE family AS (
        SELECT id FROM api_keys WHERE id = %(id)s AND (owner = %(owner)s OR %(owner)s::text IS NULL)
        UNION SELECT made.id FROM api_keys made JOIN family ON made.maker = family.id)
    UPDATE api_keys SET revoked = coalesce(revoked, now()) WHERE id IN (SELECT id FROM family) RETURNING *"""
USED = """
    UPDATE api_keys SET last_used = greatest(last_used, told.at)
    FROM unnest(%s::text[], %s::timestamptz[]) AS told(id, at) WHERE api_keys.id = told.id"""


async def _check_room(connection: Connection, owner: str) -> None:
    [row] = await _rows(connection, f"SELECT count(*) FROM api_keys WHERE owner = %s AND {IN_FORCE}", [owner])
    if row["count"] >= MAX_KEYS:
        said = f"{owner} may have {MAX_KEYS} API keys and has {row['count']}; revoke one that is not needed"
        raise QuotaExceeded(said, "api_keys")


async def _check_maker(connection: Connection, maker: str) -> None:
    if not await _rows(connection, f"SELECT id FROM api_keys WHERE id = %s AND {IN_FORCE}", [maker]):
        raise Unauthenticated(f"the API key {maker} has ended, and makes no other")


async def _rows(connection: Connection, query: str, values: Sequence[object] | Mapping[str, object]) -> list[Any]:
    return await (await connection.execute(query.encode(), values)).fetchall()


def _key(row: Any) -> ApiKey:
    return ApiKey(**{**row, "digest": bytes(row["digest"]), "scopes": frozenset(row["scopes"])})
