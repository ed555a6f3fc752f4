"""Fixtures that every test folder may use: real servers on free ports, an empty asset store, readable statuses."""

import os

# As `shared` sets it, but pytest's files may import grpc first: its fork handlers abort one encoder in ten.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# As the launcher sets it for its workers: engines that wait without spinning leave the cores to each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import signal
from pathlib import Path

import pytest

from shared.assets import AssetStore
from tests.kit.servers import serve

__all__ = ["serve"]

# A shell ignores Ctrl-C for what it runs in the background, and children inherit that: theirs would do nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Begun first, in this order: they wait more than they compute, so others run beside them to the end.
LONGEST = ("tests/journeys/test_chaos.py", "tests/journeys/test_stack.py", "tests/atelier/test_up.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; `--no-loadscope-reorder` lets pytest-xdist keep that order."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> None:
    """Whoever runs the tests may have configured a service of their own."""
    for name in [name for name in os.environ if name.startswith("ATELIER_") and name != "ATELIER_CACHE"]:
        del os.environ[name]


@pytest.fixture
def repository() -> Path:
    """The folder that holds `protos/`, `shared/` and the services."""
    return Path(__file__).parent.parent


@pytest.fixture
def assets(tmp_path: Path) -> AssetStore:
    """An empty asset store in a folder of the test's own; its bucket is `user-library`."""
    return AssetStore((tmp_path / "user-library").as_uri())
