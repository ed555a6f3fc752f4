"""A real PostgreSQL for every test that needs one: one embedded server a run, one fresh database a test."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from edge_service.jobs.database import Database, EmbeddedPostgres

numbers = itertools.count()


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a running PostgreSQL."""
    embedded = EmbeddedPostgres(Path(tmp_path_factory.mktemp("postgres")) / "data")
    yield await embedded.start()
    await embedded.stop()


@pytest.fixture
async def database_url(postgres: str) -> str:
    """The address of an empty database of the test's own."""
    name = f"test_{next(numbers)}"
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name}".encode())
    return postgres.replace("/postgres?", f"/{name}?")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open, migrated database."""
    opened = Database()
    await opened.open(database_url)
    yield opened
    await opened.close()
