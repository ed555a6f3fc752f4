"""One process of the stack, with small real processes: started, told its port, restarted, stopped."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from atelier.launcher import child as child_module
from atelier.launcher.child import Child, Port, Program

SERVER = """
import os, signal, socket, sys
from pathlib import Path
host, _, port = os.environ["ATELIER_LISTEN"].rpartition(":")
server = socket.create_server((host, int(port)))
Path(os.environ["ATELIER_ADDRESS_FILE"]).write_text("%s:%d" % server.getsockname())
signal.signal(signal.SIGTERM, lambda *_: (print("draining", flush=True), sys.exit(0)))
print("ready", flush=True)
signal.pause()
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
PORTS = {"grpc": Port("ATELIER_LISTEN", "ATELIER_ADDRESS_FILE")}


class Stack:
    """Starts children and keeps what they say."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.children, self.lines = folder, list[Child](), list[str]()
        self.said = asyncio.Condition()

    async def start(self, code: str, ports: dict[str, Port] | None = None) -> Child:
        program = Program("server", (sys.executable, "-c", code), ports=ports or {})
        child = Child(program, self.folder, lambda name, line: self.lines.append(f"{name}: {line}"))
        self.children.append(child)
        await child.start()
        return child

    async def hears(self, line: str) -> None:
        async with asyncio.timeout(10):
            while not any(line in said for said in self.lines):
                await asyncio.sleep(0.02)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    stack = Stack(tmp_path)
    yield stack
    for child in stack.children:
        await child.stop(5)


def is_alive(process_id: int) -> bool:
    return Path(f"/proc/{process_id}").exists() and "Z" not in Path(f"/proc/{process_id}/stat").read_text().split()[2]


async def test_a_child_says_where_it_listens(stack: Stack) -> None:
    child = await stack.start(SERVER, PORTS)
    addresses = await child.bound()
    host, _, port = addresses["grpc"].rpartition(":")
    assert host == "127.0.0.1"
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()


async def test_a_killed_child_is_reported_and_comes_back_on_its_port(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "BACKOFF_SECONDS", (0.05,))
    child = await stack.start(SERVER, PORTS)
    before = dict(await child.bound())
    supervising = asyncio.create_task(child.supervise())
    first = child.process_id
    os.kill(first, signal.SIGKILL)
    await stack.hears("server: ended with SIGKILL; starting again in 0.05 s")
    stack.lines.clear()
    await stack.hears("server: ready")
    assert dict(await child.bound()) == before
    assert child.process_id != first
    await child.stop(5)
    await asyncio.wait_for(supervising, 5)


async def test_a_child_that_keeps_crashing_is_given_longer_and_longer_pauses(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "BACKOFF_SECONDS", (0.01, 0.02, 0.03))
    child = await stack.start("raise SystemExit(3)")
    supervising = asyncio.create_task(child.supervise())
    await stack.hears("starting again in 0.03 s")
    pauses = [line.removeprefix("server: ended with code 3; starting again in ") for line in stack.lines]
    assert pauses[:3] == ["0.01 s", "0.02 s", "0.03 s"]
    supervising.cancel()


async def test_the_last_thing_a_child_said_is_kept(stack: Stack) -> None:
    child = await stack.start("import sys; print('loading'); sys.exit('ATELIER_MODEL: no folder /nowhere')", PORTS)
    assert await child.ended() == 1
    assert child.last_line == "ATELIER_MODEL: no folder /nowhere"


async def test_a_stopped_child_may_end_its_work(stack: Stack) -> None:
    child = await stack.start(SERVER, PORTS)
    await child.bound()
    await stack.hears("ready")
    await child.stop(5)
    assert "server: draining" in stack.lines
    assert not is_alive(child.process_id)


async def test_a_child_that_does_not_listen_is_killed(stack: Stack) -> None:
    child = await stack.start(DEAF)
    await stack.hears("deaf")
    started = time.monotonic()
    await child.stop(0.2)
    assert time.monotonic() - started < 3
    assert not is_alive(child.process_id)


LAUNCHER = """
import asyncio, sys
from pathlib import Path
from atelier.launcher.child import Child, Program
async def main():
    child = Child(Program("server", (sys.executable, "-c", sys.argv[1])), Path("."), lambda name, line: None)
    await child.start()
    print(child.process_id, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_child_does_not_outlive_a_launcher_that_was_killed(repository: Path) -> None:
    command = [sys.executable, "-c", LAUNCHER, "import time; time.sleep(60)"]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout
        child = int(launcher.stdout.readline())
        time.sleep(0.3)  # the child asks the kernel for its end as the first thing it does
        assert is_alive(child)
        launcher.kill()
        launcher.wait()
    deadline = time.monotonic() + 5
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)
