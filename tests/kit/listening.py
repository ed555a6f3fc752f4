"""Notifications as a replica has them, and losing their connections."""

import asyncio
import contextlib

import psycopg

from edge_service.adapters.notifications import CHANGED, Notifications


async def listening(url: str, stack: contextlib.AsyncExitStack) -> Notifications:
    """Notifications that listen."""
    notifications = Notifications()
    with notifications.event(CHANGED, "started") as connected:
        notifications.start(url)
        stack.push_async_callback(notifications.close)
        await asyncio.wait_for(connected.wait(), 5)
    return notifications


async def cut_connections(url: str) -> None:
    """Ends all connections to a database but its own."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
