import asyncio

import psycopg
import pytest

from edge_service.queue.schema.migrate import MIGRATIONS, migrate
from shared.errors import DatabaseUnavailable


async def test_replicas_that_start_together_migrate_once(empty_database_url: str):
    await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        rows = await (await connection.execute("SELECT name FROM migrations")).fetchall()
    assert rows == [(script.name,) for script in MIGRATIONS]


async def test_a_database_that_is_not_there_is_a_typed_error():
    with pytest.raises(DatabaseUnavailable):
        await migrate("postgresql://127.0.0.1:1/none?connect_timeout=1")
