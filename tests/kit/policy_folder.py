"""Folders of policies, and a process that is left as it was found."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_service.policy.folder import BUILT_IN
from edge_service.policy.snapshot import in_force, use

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _what_was_in_force_is_again() -> Iterator[None]:
    before = in_force()
    yield
    use(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder of policies."""
    made = tmp_path / "policies"
    made.mkdir()
    return made


@pytest.fixture
def changed(folder: Path) -> Write:
    """Writes a built-in file into the folder with a text in place of another: `changed("tiers", "100", "200")`."""

    def write(name: str, old: str, new: str) -> Path:
        text = (BUILT_IN / f"{name}.yaml").read_text()
        assert old in text
        (folder / f"{name}.yaml").write_text(text.replace(old, new, 1))
        return folder

    return write
