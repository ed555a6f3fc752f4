"""Fixtures of tests that take a request through several services."""

from tests.kit.edge import (
    ann,
    bob,
    channel,
    database,
    database_url,
    empty_database_url,
    jobs,
    pair,
    postgres,
    start_edge,
)

__all__ = [
    "ann",
    "bob",
    "channel",
    "database",
    "database_url",
    "empty_database_url",
    "jobs",
    "pair",
    "postgres",
    "start_edge",
]  # fmt: skip
