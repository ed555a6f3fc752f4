"""Brings the database to the schema of this version."""

from pathlib import Path

import psycopg

from edge_service.adapters.database import Lock, translated

MIGRATIONS = sorted((Path(__file__).parent / "migrations").glob("*.sql"))


CREATE = "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied timestamptz)"


async def migrate(url: str) -> None:
    """Applies the migrations that this database has not seen, one replica at a time, all or none.

    Raises DatabaseUnavailable.
    """
    with translated():
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.MIGRATION])
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied timestamptz)"
            )
            applied = {row[0] for row in await (await connection.execute("SELECT name FROM migrations")).fetchall()}
            for script in MIGRATIONS:
                if script.name not in applied:
                    await connection.execute(script.read_text().encode())
                    await connection.execute("INSERT INTO migrations VALUES (%s, now())", [script.name])
