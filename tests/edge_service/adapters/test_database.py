from pathlib import Path

import psycopg
import pytest

from atelier.contracts.errors import DatabaseUnavailable
from edge_service.adapters.database import Connection, Database, EmbeddedPostgres


async def test_a_database_that_is_not_open_yet_says_so():
    with pytest.raises(DatabaseUnavailable, match="still starting"):
        async with Database().connection():
            pass


async def test_a_database_that_is_not_there_is_a_typed_error():
    with pytest.raises(DatabaseUnavailable):
        await Database().open("postgresql://127.0.0.1:1/none?connect_timeout=1")


async def frozen_in_a_transaction(database: Database, watching: Connection) -> None:
    async with database.transaction() as frozen:
        await frozen.execute("SET idle_in_transaction_session_timeout = '50ms'")
        await frozen.execute("UPDATE secrets SET value = 'held'")
        await watching.execute("UPDATE secrets SET value = 'free'")
        await frozen.execute("SELECT 1")


async def test_a_frozen_replica_holds_no_lock_for_long(database: Database):
    async with database.connection() as watching:
        await watching.execute("INSERT INTO secrets VALUES ('a', '')")
        with pytest.raises(DatabaseUnavailable):
            await frozen_in_a_transaction(database, watching)
        shown = await (await watching.execute("SHOW idle_in_transaction_session_timeout")).fetchone()
    assert shown == {"idle_in_transaction_session_timeout": "5s"}


async def test_a_column_that_a_newer_edge_adds_costs_a_connection_its_prepared_statements(database: Database):
    async def read() -> bool:
        try:
            async with database.connection() as connection:
                await connection.execute("SELECT * FROM secrets", [])
        except DatabaseUnavailable:
            return False
        return True

    assert all([await read() for _ in range(20)])
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE secrets ADD COLUMN later text")
    after = [await read() for _ in range(20)]
    assert 1 <= after.count(False) <= 4
    assert all(after[10:])


async def test_the_database_itself_refuses_a_state_that_is_none(database: Database):
    async with database.connection() as connection:
        with pytest.raises(psycopg.errors.CheckViolation):
            await connection.execute(
                "INSERT INTO jobs (id, owner, type, worker_type, interactive, status, plan, decisions, deadline)"
                " VALUES ('a', 'a', 'a', 'a', false, 'finished', '', '', now())"
            )


async def test_a_process_that_was_killed_does_not_keep_the_embedded_server_running(tmp_path: Path):
    folder = tmp_path / "postgres"
    embedded = EmbeddedPostgres(folder)
    await embedded.start()
    await embedded.stop()
    (folder / ".handle_pids.json").write_text("[999999999]")  # more than any process has
    await embedded.start()
    assert (folder / "postmaster.pid").exists()
    await embedded.stop()
    assert not (folder / "postmaster.pid").exists()
