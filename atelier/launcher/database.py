"""The embedded database, which is no child of the launcher and outlives an edge that was killed."""

import asyncio
import os
import signal
import time
from pathlib import Path

POLL_SECONDS = 0.05


def left_behind(folder: Path) -> int | None:
    """The process id of the PostgreSQL that runs on this folder, if one does. Knows only on Linux."""
    try:
        process = int((folder / "postmaster.pid").read_text().split()[0])
        # After a crash of the machine the number may be that of any process.
        command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError, IndexError):
        return None
    return process if str(folder).encode() in command else None


def ask_to_stop(folder: Path) -> None:
    """Tells the PostgreSQL that runs on this folder to stop, if one does; its data is safe."""
    if process := left_behind(folder):
        os.kill(process, signal.SIGINT)  # PostgreSQL's "fast shutdown": ends sessions, writes everything


async def stop_left_behind(folder: Path, seconds: float) -> None:
    """Stops the PostgreSQL that runs on this folder, if one does, and waits for its end."""
    deadline = time.monotonic() + seconds
    ask_to_stop(folder)
    while left_behind(folder) and time.monotonic() < deadline:  # noqa: ASYNC110 - it is no child of ours
        await asyncio.sleep(POLL_SECONDS)
