"""Policies that change under a running edge: taken when they are good and at rest, refused with their line if not."""

import asyncio
import logging
import shutil
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from edge_service.accounts.tiers import tiers
from edge_service.policies.reloading import Policies
from edge_service.policy import current
from edge_service.policy.folder import BUILT_IN, Gathered, gather
from tests.kit.policy_folder import Write


def most_queued() -> int:
    return tiers().tiers["basic"].max_queued


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("atelier_policy_reloads_total", {"outcome": outcome}) or 0.0


async def looked(policies: Policies) -> None:
    """As long as it takes to be sure that a change is at rest."""
    await policies.look()
    await policies.look()


async def test_a_change_is_taken_without_a_restart(folder: Path, changed: Write) -> None:
    policies, taken = Policies(str(folder)), counted("taken")
    first = current().version
    assert most_queued() == 100
    changed("tiers", "max_queued: 100\n", "max_queued: 200\n")
    await looked(policies)
    assert most_queued() == 200
    assert current().version != first
    assert counted("taken") == taken + 1
    assert REGISTRY.get_sample_value("atelier_policy_info", {"version": current().version}) == 1
    assert REGISTRY.get_sample_value("atelier_policy_info", {"version": first}) is None


async def test_what_is_still_being_written_is_not_taken(folder: Path, changed: Write) -> None:
    policies = Policies(str(folder))
    changed("tiers", "max_queued: 100\n", "max_queued: 200\n")
    await policies.look()
    changed("tiers", "max_queued: 100\n", "max_queued: 300\n")
    await policies.look()
    assert most_queued() == 100
    await policies.look()
    assert most_queued() == 300


async def test_a_bad_file_is_refused_with_its_line_and_the_old_policies_stay(
    folder: Path, changed: Write, caplog: pytest.LogCaptureFixture
) -> None:
    policies, refused = Policies(str(changed("tiers", "max_queued: 100\n", "max_queued: 200\n"))), counted("refused")
    version = current().version
    changed("tiers", "max_queued: 100\n", "max_queued: none\n")
    with caplog.at_level(logging.INFO, "edge_service.policies"):
        await looked(policies)
        await looked(policies)  # says it once, not each time it looks
    [record] = caplog.records
    assert record.message == "changed policies are refused, the old ones stay in force"
    assert f"{folder}/tiers.yaml:29:17: tiers.basic.max_queued: must be a valid integer" in record.mistakes
    assert "got 'none'" in record.mistakes
    assert (most_queued(), current().version) == (200, version)
    assert counted("refused") == refused + 1
    assert REGISTRY.get_sample_value("atelier_policy_refused") == 1


async def test_a_good_file_after_a_bad_one_is_taken(folder: Path, changed: Write) -> None:
    policies = Policies(str(folder))
    changed("tiers", "max_queued: 100\n", "max_queued: none\n")
    await looked(policies)
    changed("tiers", "max_queued: 100\n", "max_queued: 200\n")
    await looked(policies)
    assert most_queued() == 200
    assert REGISTRY.get_sample_value("atelier_policy_refused") == 0


async def test_all_files_are_taken_or_none(folder: Path, changed: Write) -> None:
    policies = Policies(str(folder))
    changed("tiers", "max_queued: 100\n", "max_queued: 200\n")
    changed("costs", "sdxl: 0.04", "sdxl: -1")
    await looked(policies)
    assert most_queued() == 100


async def test_a_folder_that_vanishes_changes_nothing(folder: Path, changed: Write) -> None:
    policies = Policies(str(changed("tiers", "max_queued: 100\n", "max_queued: 200\n")))
    shutil.rmtree(folder)
    await looked(policies)
    assert most_queued() == 200


async def test_the_links_of_a_config_map_are_followed_when_they_are_swapped(folder: Path) -> None:
    def publish(version: str, most: int) -> None:
        """What a kubelet does: a new folder, then one rename of the link to it. The files' names stay links."""
        (folder / version).mkdir()
        text = (BUILT_IN / "tiers.yaml").read_text().replace("max_queued: 100\n", f"max_queued: {most}\n")
        (folder / version / "tiers.yaml").write_text(text)
        (folder / "..data_tmp").symlink_to(version)
        (folder / "..data_tmp").rename(folder / "..data")

    publish("..2026_01", 200)
    (folder / "tiers.yaml").symlink_to("..data/tiers.yaml")
    policies = Policies(str(folder))
    assert most_queued() == 200
    publish("..2026_02", 201)  # of the same length, maybe in the same instant
    await looked(policies)
    assert most_queued() == 201


def test_an_edge_does_not_start_with_bad_policies(changed: Write) -> None:
    folder = changed("tiers", "max_queued: 100\n", "max_queued: none\n")
    with pytest.raises(SystemExit, match=r"tiers\.yaml:29:17: tiers\.basic\.max_queued: must be a valid integer"):
        Policies(str(folder))


async def test_a_look_that_fails_is_not_the_last(
    folder: Path, changed: Write, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge_service.policies.reloading.LOOK_SECONDS", 0.0)
    policies, failures = Policies(str(folder)), [RuntimeError("a disk that comes and goes")]

    def read(given: str) -> Gathered:
        if failures:
            raise failures.pop()
        return gather(given)

    monkeypatch.setattr("edge_service.policies.reloading.gather", read)
    changed("tiers", "max_queued: 100\n", "max_queued: 200\n")
    policies.start()
    async with asyncio.timeout(10):
        while most_queued() != 200:
            await asyncio.sleep(0.01)
    await policies.close()
    assert "a look at the policies failed" in caplog.messages
