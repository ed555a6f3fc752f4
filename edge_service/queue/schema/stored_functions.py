"""The functions and triggers of the database, one a file, applied again when the file has changed."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.errors import InvalidFunctionDefinition

# A file has the name of its function and one CREATE OR REPLACE FUNCTION, followed by its trigger if it has one. What is
# replaced keeps its identity: replicas that call it at that moment are not disturbed.
STORE_HASH = """
INSERT INTO schema_functions VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256"""
FUNCTIONS = sorted((Path(__file__).parent / "functions").glob("*.sql"))


async def apply_functions(connection: psycopg.AsyncConnection, files: Sequence[Path]) -> None:
    """Applies the files whose hash is not the stored one, and drops the functions whose file is gone."""
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_functions (name text PRIMARY KEY, sha256 text NOT NULL)"
    )
    applied: dict[str, str] = dict(
        await (await connection.execute("SELECT name, sha256 FROM schema_functions")).fetchall()
    )
    # Functions call each other in any order, so bodies are not checked when they are stored, as pg_dump does it.
    await connection.execute("SET LOCAL check_function_bodies = off")
    for file in files:
        content = file.read_bytes()
        checksum = sha256(content).hexdigest()
        if applied.pop(file.stem, None) != checksum:
            await _apply(connection, file.stem, content)
            await connection.execute(STORE_HASH, [file.stem, checksum])
    for name in applied:
        await _drop(connection, await _versions(connection, name))
        await connection.execute("DELETE FROM schema_functions WHERE name = %s", [name])


async def _apply(connection: psycopg.AsyncConnection, name: str, content: bytes) -> None:
    """Replaces a function. One with other arguments would stay beside it, and one with another result in its way."""
    before = await _versions(connection, name)
    try:
        async with connection.transaction():
            await connection.execute(content)
    except InvalidFunctionDefinition:
        await _drop(connection, before)
        await connection.execute(content)
        return
    after = await _versions(connection, name)
    await _drop(connection, before & after)  # what was replaced has another version now


async def _versions(connection: psycopg.AsyncConnection, name: str) -> set[tuple[str, str]]:
    """The functions of a name: their identity, and where their row lies, which changes with it."""
    query = (
        "SELECT oid::regprocedure::text, ctid::text FROM pg_proc"
        " WHERE proname = %s AND pronamespace = current_schema()::regnamespace"
    )
    return {(identity, place) for identity, place in await (await connection.execute(query, [name])).fetchall()}


async def _drop(connection: psycopg.AsyncConnection, versions: set[tuple[str, str]]) -> None:
    """Drops functions, and with one of a trigger its triggers."""
    for identity, _ in sorted(versions):
        await connection.execute(sql.SQL("DROP FUNCTION {} CASCADE").format(sql.SQL(identity)))
