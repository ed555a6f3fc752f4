"""Issuers, and a clock that a test sets."""

from collections.abc import Iterator

import pytest

from tests.kit.issuer import Clock, Key, LocalIssuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer() -> Iterator[LocalIssuer]:
    """An issuer with one key, "first"."""
    local = LocalIssuer(Key("first"))
    yield local
    local.stop()
