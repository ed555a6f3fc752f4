"""Workers found by DNS name: they come, they go, and a name that cannot be looked up takes none away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from atelier.contracts.errors import Draining
from edge_service.config import EdgeConfig
from edge_service.fleet import Fleet, discovery
from edge_service.fleet.discovery import Name, parse, resolve
from tests.kit.workers import serving, until

ENTRY = "dns:///chat.atelier:50063"


class Records:
    """A resolver whose records a test sets; None is a name server that does not answer."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: list[str] | None = list(addresses)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        if self.addresses is None:
            raise OSError("no name server answers")
        return list(self.addresses)

    async def asked_again(self, times: int = 3) -> None:
        before = len(self.asked)
        await until(lambda: len(self.asked) >= before + times)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "RESOLVE_SECONDS", 0.02)


@contextlib.asynccontextmanager
async def following(records: Records, *entries: str) -> AsyncIterator[Fleet]:
    fleet = Fleet(entries or [ENTRY], resolve=records)
    fleet.start()
    try:
        yield fleet
    finally:
        await fleet.close()


def addresses(fleet: Fleet) -> list[str]:
    return [worker.address for worker in fleet.workers]


async def test_every_record_of_a_name_is_a_worker() -> None:
    records = Records()
    async with serving(worker_id="one") as one, serving(worker_id="two") as two, following(records) as fleet:
        records.addresses = [one.address, two.address]
        await until(lambda: len(fleet.connected()) == 2)
        assert {w.description.worker_id for w in fleet.connected() if w.description} == {"one", "two"}


async def test_a_worker_that_is_added_is_followed_and_announced() -> None:
    records = Records()
    async with serving() as one, following(records) as fleet:
        await records.asked_again()
        assert fleet.workers == []
        changed = fleet.changed
        records.addresses = [one.address]
        await until(fleet.connected)
        assert changed.is_set()
        assert records.asked[0] == ("chat.atelier", 50063)


async def test_a_worker_that_vanished_gets_no_new_job_and_is_dropped_once_ours_have_ended() -> None:
    async with serving(slots=2) as one:
        records = Records(one.address)
        async with following(records) as fleet:
            await until(fleet.connected)
            [worker] = fleet.workers
            with worker.occupied():
                records.addresses = []
                await records.asked_again()
                assert fleet.choose("chat") is None
                assert fleet.connected() == [worker]
            await until(lambda: not fleet.workers)
            with pytest.raises(Draining):  # whoever had chosen it before tries another
                worker.generate(None, 1)


async def test_a_worker_that_comes_back_while_its_job_runs_is_used_on() -> None:
    async with serving(slots=2) as one:
        records = Records(one.address)
        async with following(records) as fleet:
            await until(fleet.connected)
            with fleet.workers[0].occupied():
                records.addresses = []
                await records.asked_again()
                records.addresses = [one.address]
                await until(lambda: (found := fleet.choose("chat")) and found.worker is fleet.workers[0])


async def test_a_lookup_that_fails_takes_nobody_away() -> None:
    async with serving() as one:
        records = Records(one.address)
        async with following(records) as fleet:
            await until(fleet.connected)
            records.addresses = None
            await records.asked_again()
            assert addresses(fleet) == [one.address]
            records.addresses = []
            await until(lambda: not fleet.workers)


async def test_a_lookup_that_hangs_takes_nobody_away_and_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "LOOKUP_SECONDS", 0.05)
    asked = []

    async def hangs(host: str, port: int) -> list[str]:
        asked.append(host)
        if len(asked) > 1:
            await asyncio.sleep(60)
        return ["127.0.0.1:1"]

    fleet = Fleet([ENTRY], resolve=hangs)
    fleet.start()
    await until(lambda: len(asked) > 3)
    assert addresses(fleet) == ["127.0.0.1:1"]
    await fleet.close()


async def test_addresses_and_names_go_together_and_nobody_is_followed_twice() -> None:
    records = Records("127.0.0.1:1", "127.0.0.1:2")
    async with following(records, "127.0.0.1:2", ENTRY, "127.0.0.1:2") as fleet:
        await records.asked_again()
        assert addresses(fleet) == ["127.0.0.1:2", "127.0.0.1:1"]
        records.addresses = []
        await until(lambda: addresses(fleet) == ["127.0.0.1:2"])


async def test_the_systems_resolver_is_asked_for_both_families() -> None:
    found = await resolve("localhost", 50061)
    assert set(found) <= {"127.0.0.1:50061", "[::1]:50061"}
    assert "127.0.0.1:50061" in found


def test_the_forms_of_an_entry() -> None:
    told = ["sdxl-0.sdxl:50061", "10.0.0.7:1", "[::1]:65535", "dns:///wan:50062", "dns:///chat.atelier.svc:50063"]
    assert parse(told) == (told[:3], [Name("wan", 50062), Name("chat.atelier.svc", 50063)])


@pytest.mark.parametrize(
    "entry",
    ["sdxl", "sdxl:", ":50061", "sdxl:0", "sdxl:65536", "sdxl:x", "dns:///sdxl", "dns://8.8.8.8/sdxl:1", "http://a:1"],
)
def test_an_entry_that_is_neither_is_named_at_start(entry: str) -> None:
    with pytest.raises(ValueError, match=f"'{entry}' must be host:port or dns:///name:port"):
        EdgeConfig(workers=f"sdxl-0:50061, {entry}")


def test_spaces_and_empty_entries_are_forgiven() -> None:
    assert EdgeConfig(workers=" a:1, ,dns:///b:2,").worker_addresses == ("a:1", "dns:///b:2")
