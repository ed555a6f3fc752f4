"""A chat worker in a process of its own, to be frozen and killed; its engine is a fake."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
from chat_service.config import ChatConfig
from chat_service.servicer import chat_worker
from shared import config, server
from tests.kit.fake_chat_engine import FakeEngine, {script}

told = config.load(ChatConfig, "chat_service")
server.run(chat_worker(told, lambda _: FakeEngine(script={script})), told)
"""


@dataclass
class Child:
    """The process, and the file that tells its address."""

    process: "subprocess.Popen[bytes]"
    file: Path

    async def address(self) -> str:
        async with asyncio.timeout(60):
            while not self.file.exists():
                assert self.process.poll() is None
                await asyncio.sleep(0.05)
        return self.file.read_text()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


@contextlib.contextmanager
def process(folder: Path, script: str = "says_hello") -> Iterator[Child]:
    """A worker that runs until the block ends; `script` names what its engine does."""
    file = folder / "address"
    options = [f"--address-file={file}", "--model=none"]
    command = [
        sys.executable,
        "-c",
        PROGRAM.format(script=script),
        *options,
        f"--assets={folder.as_uri()}/user-library",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as child:
        try:
            yield Child(child, file)
        finally:
            child.kill()
