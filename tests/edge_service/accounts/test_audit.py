"""The audit log keeps what was decided, without content, and nothing that is in it can be changed."""

import logging
from typing import Any

import psycopg
import pytest

from edge_service.accounts import audit
from edge_service.accounts.audit import Audit, Entry
from edge_service.adapters.database import Database, fetch_all

REFUSED = Entry("ann", "request.refused", "sdxl_image_fast", "CONTENT_FORBIDDEN", "ab" * 32, "0123456789ab")


async def rows(database: Database) -> list[dict[str, Any]]:
    async with database.connection() as connection:
        return await fetch_all(connection, "SELECT * FROM audit ORDER BY id", [])


async def test_an_entry_is_kept_as_it_is(database: Database) -> None:
    await Audit(database).record(REFUSED)
    [row] = await rows(database)
    assert Entry(**{name: row[name] for name in vars(REFUSED)}) == REFUSED


@pytest.mark.parametrize("change", ["UPDATE audit SET actor = 'bob'", "DELETE FROM audit", "TRUNCATE audit"])
async def test_the_database_refuses_every_change(database: Database, change: str) -> None:
    await Audit(database).record(REFUSED)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        async with database.connection() as connection:
            await connection.execute(change.encode())
    assert len(await rows(database)) == 1


async def test_one_actor_cannot_fill_it_and_it_says_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_PER_ACTOR", 3)
    for _ in range(9):
        await Audit(database).record(REFUSED)
    await Audit(database).record(Entry("bob", "key.created", "atl_1"))
    assert [(row["actor"], row["action"]) for row in await rows(database)] == [
        *[("ann", "request.refused")] * 3, ("ann", "audit.full"), ("bob", "key.created"),
    ]  # fmt: skip


async def test_without_a_database_the_process_log_has_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await Audit(Database()).record(REFUSED)
    first = caplog.records[0]
    assert (first.getMessage(), vars(first)["digest"]) == ("audit", REFUSED.digest)
