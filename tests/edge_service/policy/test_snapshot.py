"""Whoever reads policies in the course of one request reads one version of them."""

import asyncio
from pathlib import Path

from edge_service.accounts.tiers import tiers
from edge_service.domain.job_types import job_types
from edge_service.planning.presets import choices
from edge_service.policies.registry import load
from edge_service.policy import current, held
from edge_service.policy.folder import BUILT_IN
from edge_service.policy.snapshot import Snapshot, holding, use


def version(folder: Path, number: int) -> Snapshot:
    """Policies of which two files say the same number."""
    made = folder / str(number)
    made.mkdir()
    text = (BUILT_IN / "tiers.yaml").read_text()
    (made / "tiers.yaml").write_text(text.replace("max_queued: 100\n", f"max_queued: {number}\n"))
    text = (BUILT_IN / "job_types.yaml").read_text()
    (made / "job_types.yaml").write_text(text.replace("credits: 6", f"credits: {number}"))
    return load(str(made))


async def read_twice() -> tuple[int, int]:
    first = tiers().tiers["basic"].max_queued
    await asyncio.sleep(0)
    return first, job_types()["video_high"].credits


async def swapping(versions: list[Snapshot], rounds: int) -> None:
    for turn in range(rounds):
        use(versions[turn % 2])
        await asyncio.sleep(0)


async def test_a_request_sees_one_version_however_often_they_change(folder: Path) -> None:
    versions = [version(folder, 7), version(folder, 8)]

    @holding
    def guard(method: str) -> str:
        return method

    async def request() -> set[int]:
        await asyncio.sleep(0)
        assert guard("Submit") == "Submit"
        return {number for _ in range(5) for number in await read_twice()}

    use(versions[0])
    changing = asyncio.create_task(swapping(versions, 200))
    seen = await asyncio.gather(*(asyncio.create_task(request()) for _ in range(20)))
    assert not changing.done()  # they did change all the while
    assert {len(numbers) for numbers in seen} == {1}
    use(versions[0])
    mixed = asyncio.gather(*(asyncio.create_task(read_twice()) for _ in range(20)))
    use(versions[0])
    await asyncio.sleep(0)
    use(versions[1])
    assert {first == second for first, second in await mixed} == {False}  # what it would be without
    await changing


async def test_the_next_request_sees_what_was_taken(folder: Path) -> None:
    old, new = version(folder, 7), version(folder, 8)
    use(old)

    async def request() -> str:
        holding(lambda: None)()
        return current().version

    assert await asyncio.create_task(request()) == old.version
    use(new)
    assert await asyncio.create_task(request()) == new.version


async def test_what_is_held_is_held_by_tasks_begun_within_and_let_go_at_the_end(folder: Path) -> None:
    old, new = version(folder, 7), version(folder, 8)
    use(old)
    with held() as holds:
        use(new)
        assert holds is current() is old
        assert await asyncio.create_task(read_twice()) == (7, 7)
    assert await read_twice() == (8, 8)


def test_a_table_is_read_once() -> None:
    assert choices() is choices()
