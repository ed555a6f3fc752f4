"""What goes and what stays, on a real database and a real folder."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from atelier.contracts.errors import StorageUnavailable
from edge_service.adapters.database import Database, Lock
from edge_service.config import EdgeConfig
from edge_service.queue import retention as module
from edge_service.queue.retention import Keep, Retention
from shared.assets import AssetStore
from shared.telemetry import REMOVED

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100)


class Store(AssetStore):
    """A real folder, away for some of its objects."""

    away: frozenset[str] = frozenset()
    hanging = 0.0

    async def delete(self, *keys: str) -> None:
        await asyncio.sleep(self.hanging)
        if self.away & set(keys):
            raise StorageUnavailable("injected")
        await super().delete(*keys)

    async def discard(self, folder: str) -> int:
        if folder in self.away:
            raise StorageUnavailable("injected")
        return await super().discard(folder)


class Library:
    """Rows and files as the edge and its workers leave them, of any age."""

    def __init__(self, database: Database, url: str, folder: Path) -> None:
        self.database, self.url, self.folder = database, url, folder
        self.assets = Store(folder.as_uri())
        self.config = EdgeConfig(assets=folder.as_uri())
        self.keep = Keep(self.config.keep_assets_days, self.config.keep_jobs_days, self.config.keep_events_hours)

    async def execute(self, statement: str, *values: object) -> list[dict[str, Any]]:
        async with self.database.connection() as connection:
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def job(self, job_id: str, status: str = "completed", days: float = 0, attempt: int = 1) -> None:
        """A job that ended, or began if it is open, some days ago, with three events and its ledger."""
        ended = status in ("completed", "failed", "cancelled", "expired")
        await self.execute(
            "INSERT INTO jobs (id, owner, type, worker_type, interactive, status, plan, decisions, created, deadline,"
            " attempt, last_sequence, ended, lease_expires) SELECT %s, 'ann', 'sdxl_image_fast', 'sdxl', false, %s, '',"
            " '', past, past, %s, 3, CASE WHEN %s THEN past END, CASE WHEN %s THEN past END"
            " FROM (SELECT now() - %s * interval '1 day' AS past) AS times",
            job_id, status, attempt, ended, status in ("leased", "processing"), days,
        )  # fmt: skip
        for number in range(1, attempt + 1):
            await self.execute("INSERT INTO attempts (job_id, number, worker_id) VALUES (%s, %s, 'w')", job_id, number)
        for sequence in (1, 2, 3):
            await self.execute("INSERT INTO events (job_id, sequence, event) VALUES (%s, %s, '')", job_id, sequence)
        await self.execute("INSERT INTO ledger (job_id, kind, owner, credits) VALUES (%s, 'reserve', 'ann', 1)", job_id)

    async def asset(self, job_id: str, days: float = 0, attempt: int = 1) -> str:
        """An asset of a job: file and row."""
        [stored] = await self.assets.put_all("ann", job_id, attempt, [PICTURE])
        await self.execute(
            "INSERT INTO assets (key, job_id, owner, type, mime_type, bytes, sha256, created)"
            " VALUES (%s, %s, 'ann', 'image', 'image/png', 108, '', now() - %s * interval '1 day')",
            stored.key, job_id, days,
        )  # fmt: skip
        return stored.key

    async def stray(self, job_id: str, attempt: int) -> str:
        """A file that no row names."""
        return (await self.assets.put_all("ann", job_id, attempt, [PICTURE]))[0].key

    async def round(self) -> bool:
        return await Retention(self.assets, self.keep).round(self.url)

    def files(self) -> list[str]:
        """Keys of the files, also while folders are removed: `walk` passes over one that went before it was read."""
        found = (Path(folder, name) for folder, _, names in os.walk(self.folder) for name in names)
        return sorted(str(path.relative_to(self.folder)) for path in found)

    async def ids(self, table: str, column: str = "job_id") -> list[str]:
        return [row["id"] for row in await self.execute(f"SELECT {column} AS id FROM {table} ORDER BY 1")]


@pytest.fixture
def library(database: Database, database_url: str, tmp_path: Path) -> Library:
    return Library(database, database_url, tmp_path / "user-library")


def removed(kind: str) -> float:
    return REMOVED.labels(kind)._value.get()


async def test_an_asset_goes_after_a_week_row_and_file_together(library: Library) -> None:
    await library.job("old", days=7.1)
    await library.job("young", days=6.9)
    await library.asset("old", days=7.1)
    kept = await library.asset("young", days=6.9)
    before = removed("asset")
    assert await library.round()
    assert await library.ids("assets", "key") == [kept] == library.files()
    assert removed("asset") == before + 1


async def test_an_asset_marked_by_a_round_that_died_goes_with_its_file(library: Library) -> None:
    await library.job("job")
    await library.asset("job")
    await library.execute("UPDATE assets SET deleted = now()")
    await library.round()
    assert await library.ids("assets") == library.files() == []


async def test_an_asset_whose_file_went_before_the_round_died_goes(library: Library) -> None:
    await library.job("job")
    key = await library.asset("job")
    await library.execute("UPDATE assets SET deleted = now()")
    await library.assets.delete(key)
    await library.round()
    assert await library.ids("assets") == []


async def test_an_asset_is_seen_by_nobody_while_its_file_cannot_be_deleted(library: Library) -> None:
    await library.job("job", days=8)
    key = await library.asset("job", days=8)
    library.assets.away = frozenset({key})
    await library.round()
    [row] = await library.execute("SELECT deleted FROM assets")
    assert row["deleted"] is not None
    library.assets.away = frozenset()
    await library.round()
    assert await library.ids("assets") == library.files() == []


async def test_one_file_that_cannot_be_deleted_holds_up_no_other(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    keys = []
    for number in range(5):
        await library.job(f"job{number}", days=8)
        keys.append(await library.asset(f"job{number}", days=8))
    library.assets.away = frozenset(keys[:1])
    await library.round()
    assert await library.ids("assets", "key") == keys[:1] == library.files()


async def test_a_job_goes_a_month_after_its_end_with_all_but_its_ledger(library: Library) -> None:
    await library.job("old", "failed", days=30.1, attempt=2)
    await library.job("young", "failed", days=29.9)
    await library.execute(
        "INSERT INTO outbox (job_id, number, owner, status, state)"
        " VALUES ('old', 1, 'ann', 'failed', 'delivered'), ('old', 2, 'ann', 'failed', 'given_up')"
    )
    await library.round()
    for table, column in (("jobs", "id"), ("attempts", "job_id"), ("events", "job_id")):
        assert await library.ids(table, column) == ["young"]
    assert await library.ids("outbox") == []
    assert await library.ids("ledger") == ["old", "young"]


@pytest.mark.parametrize("status", ["queued", "leased", "processing"])
async def test_an_open_job_stays_however_old(library: Library, status: str) -> None:
    await library.job("job", status, days=1000, attempt=2)
    await library.stray("job", 1)
    await library.round()
    assert await library.ids("events", "sequence") == [1, 2, 3]
    assert len(library.files()) == 1


async def test_a_job_with_a_callback_to_send_stays(library: Library) -> None:
    await library.job("job", days=40)
    await library.execute("INSERT INTO outbox (job_id, number, owner, status) VALUES ('job', 2, 'ann', 'completed')")
    await library.round()
    assert await library.ids("jobs", "id") == ["job"]
    await library.execute("UPDATE outbox SET state = 'delivered'")
    await library.round()
    assert await library.ids("jobs", "id") == []


async def test_a_job_outlives_its_assets(library: Library) -> None:
    await library.job("job", days=40)
    key = await library.asset("job", days=40)
    library.assets.away = frozenset({key})
    await library.round()
    assert await library.ids("jobs", "id") == ["job"]
    library.assets.away = frozenset()
    await library.round()
    assert await library.ids("jobs", "id") == library.files() == []


async def test_files_a_zombie_wrote_after_all_go_with_the_job(library: Library) -> None:
    await library.job("job", "failed", days=29, attempt=3)
    await library.round()
    for attempt in (1, 2, 3):
        await library.stray("job", attempt)
    await library.round()
    assert len(library.files()) == 3
    await library.execute(
        "ALTER TABLE jobs DISABLE TRIGGER jobs_move; UPDATE jobs SET ended = ended - interval '2 days'"
    )
    library.assets.away = frozenset({"ann/job.2/"})
    await library.round()
    assert (await library.ids("jobs", "id"), len(library.files())) == (["job"], 2)
    library.assets.away = frozenset()
    await library.round()
    assert await library.ids("jobs", "id") == library.files() == []


async def test_of_a_job_that_ended_a_day_ago_the_last_event_is_left(library: Library) -> None:
    await library.job("old", days=1.1)
    await library.job("young", days=0.9)
    before = removed("event")
    await library.round()
    rows = await library.execute("SELECT job_id, sequence FROM events ORDER BY job_id, sequence")
    assert [(row["job_id"], row["sequence"]) for row in rows] == [("old", 3), ("young", 1), ("young", 2), ("young", 3)]
    assert removed("event") == before + 2


@pytest.mark.parametrize(("status", "kept"), [("completed", ["ann/job.2/image_0.png"]), ("failed", [])])
async def test_files_of_attempts_that_did_not_complete_go(library: Library, status: str, kept: list[str]) -> None:
    await library.job("job", status, days=1.1, attempt=3 if status == "failed" else 2)
    for attempt in (1, 2, 3):
        await library.stray("job", attempt)
    (library.folder / "ann/job/image_1.png#1").write_bytes(b"half")
    (library.folder / "ann/job.3/image_0.png").unlink()
    await library.round()
    assert library.files() == kept


async def test_files_of_attempts_stay_while_a_zombie_may_still_write(library: Library) -> None:
    await library.job("job", "cancelled", days=0.9)
    await library.stray("job", 1)
    await library.round()
    assert len(library.files()) == 1


async def test_events_stay_until_the_stray_files_of_their_job_are_gone(library: Library) -> None:
    await library.job("job", "failed", days=2)
    await library.stray("job", 1)
    library.assets.away = frozenset({"ann/job/"})
    await library.round()
    assert await library.ids("events", "sequence") == [1, 2, 3]
    library.assets.away = frozenset()
    await library.round()
    assert (await library.ids("events", "sequence"), library.files()) == ([3], [])


async def test_an_idempotency_key_goes_after_a_day(library: Library) -> None:
    await library.execute(
        "INSERT INTO idempotency (owner, key, request, job_id, created)"
        " VALUES ('ann', 'old', '', 'a', now() - interval '25 hours'),"
        " ('ann', 'young', '', 'b', now() - interval '23 hours')"
    )
    await library.round()
    assert await library.ids("idempotency", "key") == ["young"]


async def test_what_a_worker_needed_goes_after_a_quarter(library: Library) -> None:
    await library.execute(
        "INSERT INTO costs (worker_type, kind, worker_id, samples, log_mean, log_m2, updated)"
        " VALUES ('sdxl', 'k', 'old', 1, 0, 0, now() - interval '91 days'),"
        " ('sdxl', 'k', 'young', 1, 0, 0, now() - interval '89 days')"
    )
    await library.round()
    assert await library.ids("costs", "worker_id") == ["young"]


async def test_only_an_idle_line_that_is_owed_nothing_goes(library: Library) -> None:
    await library.execute("UPDATE clocks SET vtime = 10 WHERE worker_type = 'sdxl'")
    await library.execute(
        "INSERT INTO shares (owner, worker_type, priority, queued, head, vtime) VALUES"
        " ('idle', 'sdxl', 0, 0, NULL, 10), ('waits', 'sdxl', 0, 1, now(), 5), ('ahead', 'sdxl', 0, 0, NULL, 10.1),"
        " ('ann', 'sdxl', 0, 0, NULL, 5), ('ann', 'wan', 0, 0, NULL, 0)"
    )
    await library.job("runs", "processing")
    await library.round()
    rows = await library.execute("SELECT owner, worker_type FROM shares ORDER BY owner, worker_type")
    assert [(row["owner"], row["worker_type"]) for row in rows] == [
        ("ahead", "sdxl"),
        ("ann", "sdxl"),
        ("waits", "sdxl"),
    ]


async def test_a_line_that_a_job_is_about_to_join_stays_and_nobody_waits(library: Library) -> None:
    await library.execute(
        "INSERT INTO shares (owner, worker_type, priority, queued, vtime) VALUES ('ann', 'sdxl', 0, 0, 0)"
    )
    async with library.database.transaction() as joining:
        await joining.execute("UPDATE shares SET queued = 1, head = now()")
        await asyncio.wait_for(library.round(), 60)
    assert await library.ids("shares", "owner") == ["ann"]


async def test_all_is_done_in_small_batches(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    for number in range(5):
        await library.job(f"old{number}", days=31)
        await library.asset(f"old{number}", days=31)
        await library.job(f"younger{number}", days=8)
        await library.asset(f"younger{number}", days=8)
        await library.execute(
            "INSERT INTO idempotency (owner, key, request, job_id, created)"
            " VALUES ('ann', %s, '', 'a', now() - interval '25 hours')",
            str(number),
        )
    await library.round()
    assert await library.ids("jobs", "id") == [f"younger{number}" for number in range(5)]
    assert await library.ids("events", "sequence") == [3] * 5
    assert await library.ids("idempotency") == await library.ids("assets") == library.files() == []


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """The connection of another replica in the middle of its round."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", [Lock.HOUSEKEEPING])
        yield connection


async def test_a_replica_does_nothing_while_another_is_at_it(
    library: Library, other: psycopg.AsyncConnection[Any]
) -> None:
    await library.job("job", days=8)
    await library.asset("job", days=8)
    assert not await library.round()
    assert len(library.files()) == 1


async def test_a_replica_takes_over_when_the_other_dies(
    library: Library, other: psycopg.AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.05)
    await library.job("job", days=8)
    await library.asset("job", days=8)
    replica = Retention(library.assets, library.keep)
    replica.start(library.url)
    await library.execute("SELECT pg_terminate_backend(%s)", other.info.backend_pid)
    async with asyncio.timeout(60):
        while await library.ids("assets"):
            await asyncio.sleep(0.02)
    await replica.close()
    assert library.files() == []


async def test_of_two_rounds_at_once_one_is_done(library: Library) -> None:
    await library.job("job", days=8)
    await library.asset("job", days=8)
    library.assets.hanging = 1
    assert sorted(await asyncio.gather(library.round(), library.round())) == [False, True]


async def test_a_replica_that_freezes_in_its_round_loses_it(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    await library.job("job", days=8)
    await library.asset("job", days=8)
    monkeypatch.setattr(module, "FROZEN_AFTER", "200ms")
    library.assets.hanging = 3600
    frozen = asyncio.create_task(library.round())
    async with asyncio.timeout(60):
        while not await library.execute("SELECT key FROM assets WHERE deleted IS NOT NULL"):
            await asyncio.sleep(0.01)
        library.assets = Store(library.folder.as_uri())
        while not await library.round():
            await asyncio.sleep(0.05)
    assert library.files() == []
    frozen.cancel()
    await asyncio.gather(frozen, return_exceptions=True)


async def test_a_store_that_is_slow_ends_no_round(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    await library.job("old", days=8)
    for attempt in range(1, 4):
        await library.asset("old", days=8, attempt=attempt)
    monkeypatch.setattr(module, "FROZEN_AFTER", "600ms")
    monkeypatch.setattr(module, "FILES_AT_ONCE", 1)
    library.assets.hanging = 0.4  # each in time, all of them not
    assert await library.round()
    assert await library.ids("assets", "key") == [] == library.files()


async def test_a_lost_connection_ends_a_round_and_not_the_loop(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.05)
    monkeypatch.setattr(module, "FROZEN_AFTER", "50ms")
    library.assets.hanging = 0.5
    await library.job("job", days=8)
    await library.asset("job", days=8)
    replica = Retention(library.assets, library.keep)
    replica.start(library.url)
    async with asyncio.timeout(60):
        while library.files():
            await asyncio.sleep(0.01)
    assert len(await library.ids("assets")) == 1  # its round lost the connection before it came to the row
    library.assets.hanging = 0
    async with asyncio.timeout(60):
        while await library.ids("assets"):
            await asyncio.sleep(0.02)
    await replica.close()


def test_a_job_that_goes_before_its_assets_is_no_configuration() -> None:
    with pytest.raises(ValueError, match="must be at least the 7 of keep_assets_days"):
        EdgeConfig(keep_jobs_days=6)
    assert EdgeConfig(keep_jobs_days=7).keep_jobs_days == 7


@pytest.mark.parametrize("field", ["keep_assets_days", "keep_jobs_days", "keep_events_hours"])
def test_nothing_is_kept_for_no_time(field: str) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        EdgeConfig(**{field: 0})
    assert getattr(EdgeConfig(**{"keep_assets_days": 1, field: 1}), field) == 1
