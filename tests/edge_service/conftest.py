"""Fixtures of everything that needs a database or an edge."""

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
