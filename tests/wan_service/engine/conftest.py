"""The video engine, on the small model: a real pipeline of the real classes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from atelier.small_models import ensure
from tests.kit.filming import loaded, make
from wan_service.engine.engine import WanEngine
from wan_service.engine.interface import VideoResult


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are slower on many threads, above all while others want the same cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model() -> Path:
    return ensure(["wan"])["wan"]


@pytest.fixture(scope="session")
def engine(model: Path) -> WanEngine:
    return loaded(model)


@pytest.fixture(scope="session")
def baseline(engine: WanEngine) -> VideoResult:
    """What `REQUEST` makes."""
    return make(engine)


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may break."""
    return shutil.copytree(model, tmp_path / "model")
