"""Brings the database to the schema of this version: tables by migrations, functions by their files.

A migration changes tables, is applied once and never edited afterwards. A function's file may be edited: it is applied
again when its hash has changed. Both happen in one transaction under one advisory lock, so replicas that start together
apply everything once, and a replica that fails leaves nothing half done.

While replicas of the version before still run:
- They never deadlock with the migration, which waits for a lock of theirs for less time than PostgreSQL takes to look
  for deadlocks, then gives up what it holds and tries again. They wait for it no longer than that either.
- They call the functions of this version at once. A function therefore takes a new argument only at its end and with a
  default, until no replica leaves it out.
- A column that is added breaks what they have prepared with `SELECT *`; `Database` then replaces the connection.
- They do not start again: an edge refuses a database with a migration that it does not know. A function that changes
  its arguments or its result comes with a migration, if need be an empty one, or an older edge could put the old one
  back.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import psycopg
from psycopg.errors import LockNotAvailable

from edge_service.adapters.database import Lock, translated
from edge_service.queue.schema.stored_functions import FUNCTIONS, apply_functions

MIGRATIONS = sorted((Path(__file__).parent / "migrations").glob("*.sql"))
# Below PostgreSQL's deadlock_timeout of 1 s: in a deadlock with a running replica, the migration is what gives way.
LOCK_TIMEOUT = "500ms"
TIMEOUT_SECONDS = 120.0
RETRY_SECONDS = 0.5


async def migrate(url: str, migrations: Sequence[Path] = MIGRATIONS, functions: Sequence[Path] = FUNCTIONS) -> None:
    """Applies what this database has not seen of `migrations` and `functions`, all or none.

    Raises DatabaseUnavailable, and SystemExit if an applied migration was edited or a newer edge made the database.
    """
    until = time.monotonic() + TIMEOUT_SECONDS
    with translated():
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            while True:
                try:
                    async with connection.transaction():
                        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.MIGRATION])
                        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'".encode())
                        await _apply_migrations(connection, migrations)
                        await apply_functions(connection, functions)
                    return
                except LockNotAvailable:
                    if time.monotonic() > until:
                        raise
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))


async def _apply_migrations(connection: psycopg.AsyncConnection, migrations: Sequence[Path]) -> None:
    scripts = {script.name: script.read_bytes() for script in migrations}
    checksums = {name: sha256(content).hexdigest() for name, content in scripts.items()}
    applied = await _applied(connection)
    _check(applied, checksums)
    for name, content in scripts.items():
        if name not in applied:
            await connection.execute(content)
        if applied.get(name) is None:
            await connection.execute(
                "INSERT INTO migrations (name, applied, sha256) VALUES (%s, now(), %s)"
                " ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256",
                [name, checksums[name]],
            )


async def _applied(connection: psycopg.AsyncConnection) -> dict[str, str | None]:
    """The checksums of the applied migrations by name; None for one from before checksums were stored."""
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied timestamptz, sha256 text)"
    )
    query = "SELECT FROM pg_attribute WHERE attrelid = 'migrations'::regclass AND attname = 'sha256'"
    if (await connection.execute(query)).rowcount == 0:
        await connection.execute("ALTER TABLE migrations ADD COLUMN sha256 text")
    return dict(await (await connection.execute("SELECT name, sha256 FROM migrations")).fetchall())


def _check(applied: Mapping[str, str | None], checksums: Mapping[str, str]) -> None:
    """Raises SystemExit if this version cannot work on a database with these migrations."""
    for name, checksum in sorted(applied.items()):
        if name not in checksums:
            raise SystemExit(f"the database has migration {name}, which this version does not know: start a newer edge")
        if checksum not in (None, checksums[name]):
            raise SystemExit(
                f"migration {name} was edited after it was applied to this database: restore the file, and put the"
                " change into a new migration"
            )
