"""Migrations are applied once and never change; functions are those of this version, whatever was there before."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest

from atelier.contracts.errors import DatabaseUnavailable
from atelier.pb.job.v1 import job_pb2
from edge_service.adapters.database import Database
from edge_service.adapters.notifications import Notifications
from edge_service.queue.leases import Leases
from edge_service.queue.schema.migrate import MIGRATIONS, migrate
from edge_service.queue.schema.stored_functions import FUNCTIONS
from edge_service.queue.store import Store
from tests.kit.job_tables import Jobs

OLD = Path(__file__).parent / "before_0007.sql"
# Of migrations that databases somewhere have. A line is only ever added.
PUBLISHED = {
    "0001_jobs.sql": "2a5919c10f469ac242a0d05a676ca892fea79942290bf701ba988efa6ba87a4d",
    "0002_durability.sql": "a65ecb2fdf914fd5a308e0b1c47b0483a7bd167435e7a529712d3953f5c91ff4",
    "0003_keys.sql": "28bde376967c8758643c08678377512aefe19b1b94bdf318951acf4eb27870a1",
    "0004_quotas.sql": "7e6e24fc6a80adac5c7a5b62c66918b4b7c851598ee8b56edff945a16934bccc",
    "0005_uploads.sql": "4baa593805d25914ade3e1287589a88724eb2cf16b01b9ea2907d74da8c52dcb",
    "0006_audit.sql": "26a6b092d5c18b9df1528102f41b0e37fcb8100b00f22d451afd715e4354a1d5",
    "0007_routing.sql": "606e3f83af9cb2f1edc8f138de5a11ea6b084474e6be3b66005a793da6bdeda1",
}
# What two databases of one schema have in common.
SCHEMA = {
    "columns": "SELECT table_name, ordinal_position, column_name, data_type, udt_name, is_nullable, column_default"
    " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
    "indexes": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    "functions": "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    "options": "SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
    "migrations": "SELECT name, sha256 FROM migrations ORDER BY 1",
    "hashes": "SELECT name, sha256 FROM schema_functions ORDER BY 1",
}


async def execute(url: str, query: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute(query.encode())
        return await cursor.fetchall() if cursor.description else []


async def schema(url: str) -> dict[str, list[tuple[object, ...]]]:
    return {name: await execute(url, query) for name, query in SCHEMA.items()}


def written(folder: Path, **texts: str) -> list[Path]:
    """Files of these names and texts."""
    for name, text in texts.items():
        (folder / f"{name}.sql").write_text(text)
    return sorted(folder.glob("*.sql"))


async def with_functions(url: str, functions: Sequence[Path]) -> None:
    await migrate(url, MIGRATIONS, functions)


@pytest.fixture
async def old_database_url(empty_database_url: str) -> str:
    """The address of a database as the edge left it before functions had files."""
    await execute(empty_database_url, OLD.read_text())
    return empty_database_url


async def test_replicas_that_start_together_migrate_once(empty_database_url: str):
    await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    rows = await execute(empty_database_url, "SELECT name FROM migrations ORDER BY name")
    assert rows == [(script.name,) for script in MIGRATIONS]
    rows = await execute(empty_database_url, "SELECT name FROM schema_functions ORDER BY name")
    assert rows == [(file.stem,) for file in FUNCTIONS]


async def test_a_database_that_is_not_there_is_a_typed_error():
    with pytest.raises(DatabaseUnavailable):
        await migrate("postgresql://127.0.0.1:1/none?connect_timeout=1")


def test_a_published_migration_is_never_edited():
    checksums = {script.name: sha256(script.read_bytes()).hexdigest() for script in MIGRATIONS}
    assert {name: checksums.get(name) for name in PUBLISHED} == PUBLISHED


def test_functions_are_in_files_of_their_own_and_newer_migrations_have_none():
    for script in MIGRATIONS:
        assert script.name in PUBLISHED or "FUNCTION" not in script.read_text().upper()
    for file in FUNCTIONS:
        assert file.read_text().count("CREATE OR REPLACE FUNCTION") == 1
        assert f"CREATE OR REPLACE FUNCTION {file.stem}(" in file.read_text()


async def test_a_database_of_before_becomes_the_same_as_a_new_one(old_database_url: str, database_url: str):
    await migrate(old_database_url)
    assert await schema(old_database_url) == await schema(database_url)


async def test_the_jobs_of_a_database_of_before_are_read_leased_and_completed(old_database_url: str):
    await migrate(old_database_url)
    database, notifications = Database(), Notifications()
    await database.open(old_database_url)
    jobs = Jobs(Store(database, notifications), Leases(database, notifications), database)
    retried, cancelled, completed = await jobs.store.jobs("ann", [], None, 10)
    assert (cancelled.status, completed.status) == (job_pb2.JOB_STATUS_CANCELLED, job_pb2.JOB_STATUS_COMPLETED)
    assert [attempt.number for attempt in completed.attempts] == [1, 2]
    routing = [decision.why for decision in completed.decisions if decision.field == "worker_id"]
    assert routing == ["attempt 1: what was weighed was not recorded", "attempt 2: what was weighed was not recorded"]
    assert len(await jobs.store.assets("ann", None, 10)) == 1
    leases = await jobs.lease(2)
    assert {lease.owner for lease in leases} == {"ann", "carol"}
    for lease in leases:
        assert await jobs.complete(lease)
    assert (await jobs.store.job("ann", retried.id)).status == job_pb2.JOB_STATUS_COMPLETED
    [taken_over] = await jobs.leases.take_over()
    assert await jobs.complete(taken_over)
    await database.close()


async def test_a_function_that_an_older_file_made_is_replaced(old_database_url: str, database_url: str):
    """As 0002 was before a deadlock in it was mended: a database made then had the older text for ever."""
    await execute(
        old_database_url,
        "CREATE OR REPLACE FUNCTION may_start(_owner text, _worker_type text, _priority integer) RETURNS boolean"
        " LANGUAGE sql AS 'SELECT false'",
    )
    await migrate(old_database_url)
    assert await schema(old_database_url) == await schema(database_url)


async def test_an_applied_migration_that_was_edited_stops_the_edge(database_url: str, tmp_path: Path):
    edited = written(tmp_path, **{script.stem: script.read_text() for script in MIGRATIONS})
    edited[1].write_text(edited[1].read_text() + "\n-- edited\n")
    with pytest.raises(SystemExit, match=r"^migration 0002_durability\.sql was edited after it was applied"):
        await migrate(database_url, edited)


async def test_a_database_of_a_newer_edge_stops_this_one(database_url: str):
    await execute(database_url, "INSERT INTO migrations VALUES ('9999_later.sql', now(), 'abc')")
    with pytest.raises(SystemExit, match=r"has migration 9999_later\.sql, which this version does not know"):
        await migrate(database_url)


def test_an_edge_that_cannot_use_the_database_says_so_in_one_line(repository: Path, tmp_path: Path, database_url: str):
    asyncio.run(execute(database_url, "INSERT INTO migrations VALUES ('9999_later.sql', now(), 'abc')"))
    environment = {
        "PATH": "", "ATELIER_DATABASE_URL": database_url, "ATELIER_DATA": str(tmp_path),
        "ATELIER_LISTEN": "127.0.0.1:0", "ATELIER_HTTP_LISTEN": "127.0.0.1:0",
        "ATELIER_ASSETS": (tmp_path / "assets").as_uri(), "ATELIER_LOG_LEVEL": "error",
    }  # fmt: skip
    command = [sys.executable, "-m", "edge_service"]
    ended = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line == "the database has migration 9999_later.sql, which this version does not know: start a newer edge"


async def test_functions_are_applied_again_only_when_their_file_has_changed(database_url: str, tmp_path: Path):
    one, two = written(
        tmp_path,
        one="CREATE OR REPLACE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        two="CREATE OR REPLACE FUNCTION two() RETURNS integer LANGUAGE sql AS 'SELECT one() + 1'",
    )
    rows = "SELECT proname, oid, ctid::text FROM pg_proc WHERE proname IN ('one', 'two') ORDER BY 1"
    await with_functions(database_url, [*FUNCTIONS, one, two])
    before = await execute(database_url, rows)
    await with_functions(database_url, [*FUNCTIONS, one, two])
    assert await execute(database_url, rows) == before
    one.write_text(one.read_text().replace("SELECT 1", "SELECT 10"))
    await with_functions(database_url, [*FUNCTIONS, one, two])
    after = await execute(database_url, rows)
    assert (after[0] != before[0], after[0][1], after[1]) == (True, before[0][1], before[1])
    assert await execute(database_url, "SELECT two()") == [(11,)]


@pytest.mark.parametrize(
    ("becomes", "call"),
    [
        ("_a integer, _b integer DEFAULT 0) RETURNS integer LANGUAGE sql AS 'SELECT _a + _b'", "one(7)"),
        ("_a integer) RETURNS bigint LANGUAGE sql AS 'SELECT _a::bigint'", "one(7)"),
        ("_other integer) RETURNS integer LANGUAGE sql AS 'SELECT _other'", "one(7)"),
    ],
    ids=["another argument", "another result", "another name"],
)
async def test_a_function_with_another_signature_replaces_the_old_one(
    database_url: str, tmp_path: Path, becomes: str, call: str
):
    begins = "CREATE OR REPLACE FUNCTION one("
    [one] = written(tmp_path, one=f"{begins}_a integer) RETURNS integer LANGUAGE sql AS 'SELECT -1'")
    await with_functions(database_url, [*FUNCTIONS, one])
    one.write_text(begins + becomes)
    await with_functions(database_url, [*FUNCTIONS, one])
    assert await execute(database_url, f"SELECT {call}") == [(7,)]
    assert await execute(database_url, "SELECT count(*) FROM pg_proc WHERE proname = 'one'") == [(1,)]


async def test_a_function_whose_file_is_gone_is_dropped_with_its_trigger(database_url: str, tmp_path: Path):
    [one] = written(
        tmp_path,
        one="CREATE OR REPLACE FUNCTION one() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        " CREATE OR REPLACE TRIGGER ones AFTER INSERT ON secrets FOR EACH ROW EXECUTE FUNCTION one();",
    )
    before = await schema(database_url)
    await with_functions(database_url, [*FUNCTIONS, one])
    assert await schema(database_url) != before
    await migrate(database_url)
    assert await schema(database_url) == before


async def test_what_fails_leaves_the_database_as_it_was(database_url: str, tmp_path: Path):
    good, wrong = written(
        tmp_path,
        one="CREATE OR REPLACE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        two="CREATE OR REPLACE FUNCTION two() RETURNS no_such_type LANGUAGE sql AS 'SELECT 1'",
    )
    before = await schema(database_url)
    with pytest.raises(psycopg.errors.UndefinedObject):
        await with_functions(database_url, [*FUNCTIONS, good, wrong])
    assert await schema(database_url) == before


async def test_a_replica_that_holds_a_lock_is_waited_for_and_not_cut_off(old_database_url: str):
    async with await psycopg.AsyncConnection.connect(old_database_url) as replica:
        await replica.execute("LOCK TABLE assets IN ROW EXCLUSIVE MODE")  # as a statement that writes does
        migrating = asyncio.create_task(migrate(old_database_url))
        await asyncio.sleep(1.5)
        assert not migrating.done()
        # The migration has changed the trigger of jobs and waits for assets: a deadlock, if it did not give up.
        await replica.execute("LOCK TABLE jobs IN ROW EXCLUSIVE MODE")
        await replica.commit()
        await asyncio.wait_for(migrating, 20)
