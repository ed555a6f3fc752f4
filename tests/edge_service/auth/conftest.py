"""Issuers, and a clock that a test sets."""

from collections.abc import Iterator

import pytest

from tests.edge_service.auth.issuer import Key, LocalIssuer


class Clock:
    """Seconds that go by only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer() -> Iterator[LocalIssuer]:
    """An issuer with one key, "first"."""
    local = LocalIssuer(Key("first"))
    yield local
    local.stop()
