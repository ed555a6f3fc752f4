"""One process of the stack: its start, its output, its restarts and its end."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Takes the name of a process and one line about it or from it.
Report = Callable[[str, str], None]
LEASH = Path(__file__).with_name("leash.py")
POLL_SECONDS = 0.05
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
# A process that ran this long was well, and its next crash counts as its first.
WELL_SECONDS = 60.0
LAST_WORDS_SECONDS = 0.5
MAX_LINE = 1024 * 1024


class StartFailed(Exception):
    """Something could not be started; the message says why: one line, or one for each mistake."""


@dataclass(frozen=True)
class Port:
    """An address that a process is told by one variable and tells back through a file named by another."""

    listen: str
    file: str
    address: str = "127.0.0.1:0"


@dataclass(frozen=True)
class Program:
    """What to run. Environment variables come on top of the launcher's own."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, Port] = field(default_factory=dict)


class Child:
    """A running program. Restarted, it gets the ports that it had, so that others find it again."""

    def __init__(self, program: Program, folder: Path, report: Report) -> None:
        """`folder` takes the files by which ports are told; `report` gets every line of output."""
        self.program, self._folder, self._report = program, folder, report
        self.addresses: dict[str, str] = {}
        self._lines: deque[str] = deque(maxlen=50)
        self._stopping = False
        self._process: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def process_id(self) -> int:
        """Of the process as it runs now."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Starts the process; it has not opened its ports yet."""
        leash = [sys.executable, "-S", "-E", str(LEASH), str(os.getpid())]
        self._process = await asyncio.create_subprocess_exec(
            *leash,
            *self.program.command,
            env={**os.environ, **self.program.environment, **self._port_variables()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the launcher, which then stops all processes in order
            limit=MAX_LINE,
        )
        self._output = asyncio.create_task(self._read())

    async def bound(self) -> dict[str, str]:
        """Waits until every port is open; returns their addresses by name."""
        for name in self.program.ports:
            while not self._file(name).exists():  # noqa: ASYNC110 - a file of another process is no event
                await asyncio.sleep(POLL_SECONDS)
            self.addresses[name] = self._file(name).read_text().strip()
        return self.addresses

    async def ended(self) -> int:
        """Waits for the end of the process as it runs now; returns its exit code, negative for a signal."""
        if self._process is None or self._output is None:
            return 0
        code = await self._process.wait()
        # What it said last is in the pipe; something it started may hold the pipe open for ever.
        await asyncio.wait({self._output}, timeout=LAST_WORDS_SECONDS)
        return code

    async def supervise(self) -> None:
        """Starts the process again whenever it ends, after a pause that grows while it keeps ending."""
        crashes = 0
        while True:
            started = time.monotonic()
            code = await self.ended()
            if self._stopping:
                return
            crashes = 0 if time.monotonic() - started > WELL_SECONDS else crashes
            pause = BACKOFF_SECONDS[min(crashes, len(BACKOFF_SECONDS) - 1)]
            self._report(self.name, f"ended with {_spoken(code)}; starting again in {pause:g} s")
            crashes += 1
            await asyncio.sleep(pause)
            if self._stopping:
                return
            await self.start()

    async def stop(self, seconds: float) -> None:
        """SIGTERM, then SIGKILL to all that is left of it after `seconds`."""
        self._stopping = True
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended(), seconds)
        self.kill()
        await self.ended()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the process and everything it started."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def last_line(self) -> str:
        """The last thing it said."""
        return self._lines[-1] if self._lines else ""

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            text = line.decode(errors="replace").rstrip()
            if text:
                self._lines.append(text)
                self._report(self.name, text)

    def _port_variables(self) -> dict[str, str]:
        variables: dict[str, str] = {}
        for name, port in self.program.ports.items():
            self._file(name).unlink(missing_ok=True)
            variables |= {port.listen: self.addresses.get(name, port.address), port.file: str(self._file(name))}
        return variables

    def _file(self, port: str) -> Path:
        return self._folder / f"{self.name}.{port}"


def _spoken(code: int) -> str:
    return f"code {code}" if code >= 0 else signal.Signals(-code).name
