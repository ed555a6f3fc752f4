"""What the stack checks before it starts anything."""

import asyncio
from pathlib import Path

import pytest

from atelier.launcher.child import StartFailed
from atelier.launcher.programs import Plan
from atelier.launcher.stack import Stack, opened


async def test_bad_policies_are_said_at_once_and_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "tier.yaml").write_text("version: 1\n")
    (folder / "costs.yaml").write_text("nonsense: 1\n")
    monkeypatch.setenv("ATELIER_POLICIES", str(folder))

    async def nothing_starts(stack: Stack) -> None:
        raise AssertionError("the models come after the policies")

    monkeypatch.setattr(Stack, "_models", nothing_starts)
    said: list[str] = []
    async with asyncio.timeout(60):
        with pytest.raises(StartFailed) as failed:
            async with opened(Plan(tmp_path / "data"), lambda _, line: said.append(line)):
                pass
    lines = str(failed.value).splitlines()
    assert any("tier.yaml" in line for line in lines)
    assert any("costs.yaml" in line for line in lines)
    assert lines[-1].endswith("an edge refuses these policies")
    assert said == []
