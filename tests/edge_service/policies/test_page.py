"""The worked example of docs/policies.md comes out as it is written there."""

import re
from pathlib import Path

import pytest

from edge_service.policies.__main__ import main
from edge_service.policy.folder import BUILT_IN


def test_the_example_of_the_page_is_what_happens(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (repository / "docs" / "policies.md").read_text()
    [example] = re.findall(r"under `presets:`\n(.+?)\$ ", page, re.DOTALL)
    builtin = (BUILT_IN / "presets.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    Path("policies").mkdir()
    Path("policies/presets.yaml").write_text(builtin.replace("\npresets:\n", f"\npresets:\n{example}"))
    assert main(["check", "policies"]) == 1
    assert capsys.readouterr().out in page

    mended = example.replace("60", "50").replace("schedular", "scheduler")
    Path("policies/presets.yaml").write_text(builtin.replace("\npresets:\n", f"\npresets:\n{mended}"))
    assert main(["check", "policies"]) == 0
    capsys.readouterr()
    assert main(["diff", "built-in", "policies"]) == 0
    assert capsys.readouterr().out.rpartition("version")[0] in page
