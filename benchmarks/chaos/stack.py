"""The stack under test: edge replicas and workers, each a process on a fixed port, all ended by their ids."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.chaos.clients import Caller
from benchmarks.chaos.history import History
from benchmarks.chaos.postgres import Postgres
from benchmarks.chaos.work import Note, notes

START_SECONDS = 60.0
# A killed process is started again after this long, as a supervisor would.
RESTART_SECONDS = 0.5
# An edge that finds no database ends; one that ends young more often than any outage lasts cannot start at all.
MAX_DEATHS, YOUNG_SECONDS = 12, 10.0


class Process:
    """One child, which is started again when it ends unless it was told to stop."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name, self.address = name, environment["ATELIER_LISTEN"]
        self._command, self._environment, self._log = [*command, str(os.getpid())], environment, folder / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._wanted, self._deaths, self._born = True, 0, 0.0
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._wanted = True
        own = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
        with self._log.open("ab") as log:
            command = [sys.executable, "-W", "ignore", "-m", *self._command]
            environment = own | dict(self._environment)
            self._child = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        self._born = time.monotonic()
        self._keeper = self._keeper or asyncio.create_task(self._keep())

    @property
    def pid(self) -> int:
        return self._child.pid if self._child else 0

    def signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def kill(self) -> None:
        """As a crash: it is started again."""
        self.signal(signal.SIGKILL)

    async def roll(self) -> None:
        """SIGTERM, and a new one once it has gone."""
        before = self._child
        self.signal(signal.SIGTERM)
        while self._child is before or (before is not None and before.poll() is None):
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """For good."""
        self._wanted = False
        if self._keeper:
            self._keeper.cancel()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        while self._child is not None and self._child.poll() is None:
            await asyncio.sleep(0.02)

    async def ready(self) -> None:
        """Returns when its health is SERVING."""
        async with asyncio.timeout(START_SECONDS):
            while not await self._serves():
                if self._deaths > MAX_DEATHS:
                    raise RuntimeError(f"{self.name} does not start: {self._log.read_text()[-2000:]}")
                await asyncio.sleep(0.05)
            self._deaths = 0

    async def _serves(self) -> bool:
        async with grpc.aio.insecure_channel(self.address) as channel:
            with contextlib.suppress(grpc.aio.AioRpcError):
                health = health_pb2_grpc.HealthStub(channel)
                answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=1)
                return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        return False

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            if self._wanted and self._child is not None and self._child.poll() is not None:
                is_young = time.monotonic() - self._born < YOUNG_SECONDS
                self._deaths = self._deaths + 1 if is_young else 0
                await asyncio.sleep(RESTART_SECONDS)
                self.start()


@dataclass(frozen=True)
class Shape:
    """What a stack is made of. `ageing_seconds` of 0 leaves the policy's."""

    edges: int = 2
    chat_workers: int = 2
    chat_slots: int = 2
    sdxl_workers: int = 0
    ageing_seconds: float = 0.0


class Stack:
    """Edges and workers on a database of their own."""

    def __init__(self, shape: Shape, folder: Path, url: str, history: History) -> None:
        self.folder, self.url, self.history = folder, url, history
        self.library = folder / "user-library"
        self._faults = folder / "faults"
        folder.mkdir(parents=True)
        self.store_faults(0, 0)
        workers = [("chat", number) for number in range(shape.chat_workers)]
        workers += [("sdxl", number) for number in range(shape.sdxl_workers)]
        ports = iter(_free_ports(shape.edges * 2 + len(workers)))
        self.workers = [self._worker(kind, number, next(ports), shape) for kind, number in workers]
        self.edges = [self._edge(number, next(ports), next(ports), shape) for number in range(shape.edges)]

    async def start(self) -> None:
        for process in (*self.workers, *self.edges):
            process.start()
        await asyncio.gather(*(process.ready() for process in (*self.workers, *self.edges)))
        for edge in self.edges:
            caller = self.caller("admin-0", [edge])
            async with asyncio.timeout(START_SECONDS):
                while await caller.accepting_workers() < len(self.workers):
                    await asyncio.sleep(0.05)
            await caller.close()

    async def stop(self) -> None:
        await asyncio.gather(*(process.stop() for process in (*self.edges, *self.workers)))

    def caller(self, user: str, edges: Sequence[Process] = ()) -> Caller:
        """A client of this user that knows these edges, by default all, and prefers the first."""
        return Caller(user, [edge.address for edge in edges or self.edges], self.history)

    def store_faults(self, before: float, after: float) -> None:
        """How often a use of the database fails from now on: before it is executed, and after its commit."""
        scratch = self._faults.with_suffix(".new")
        scratch.write_text(f"{before} {after}")
        scratch.replace(self._faults)

    def notes(self) -> list[Note]:
        """What the engines did."""
        return notes(self.folder)

    def _worker(self, kind: str, number: int, port: int, shape: Shape) -> Process:
        name = f"{kind}-{number}"
        environment = self._environment(port) | {"ATELIER_WORKER_ID": name, "ATELIER_MODEL": "none"}
        if kind == "chat":
            environment |= {"ATELIER_SLOTS": str(shape.chat_slots), "ATELIER_WAITING": "0"}
        command = ["benchmarks.chaos.worker", kind, str(self.folder / f"{name}.diary")]
        return Process(name, command, environment, self.folder)

    def _edge(self, number: int, port: int, http_port: int, shape: Shape) -> Process:
        environment = self._environment(port) | {
            "ATELIER_ALLOWED_NETWORKS": "127.0.0.0/8",
            "ATELIER_HTTP_LISTEN": f"127.0.0.1:{http_port}",
            "ATELIER_DATABASE_URL": self.url,
            "ATELIER_DATA": str(self.folder / "data"),
            "ATELIER_WORKERS": ",".join(worker.address for worker in self.workers),
        }
        policy = json.dumps({"ageing_seconds": shape.ageing_seconds} if shape.ageing_seconds else {})
        return Process(f"edge-{number}", ["benchmarks.chaos.edge", str(self._faults), policy], environment, self.folder)

    def _environment(self, port: int) -> dict[str, str]:
        return {
            "ATELIER_LISTEN": f"127.0.0.1:{port}",
            "ATELIER_ASSETS": self.library.as_uri(),
            "ATELIER_DRAIN_SECONDS": "3",
        }


@contextlib.asynccontextmanager
async def running(shape: Shape, folder: Path, postgres: Postgres, history: History) -> AsyncIterator[Stack]:
    """A stack that serves, on a new database."""
    stack = Stack(shape, folder, await postgres.new_database(), history)
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


def now() -> float:
    """Seconds since the epoch, as the diaries have them."""
    return time.time()


def _free_ports(count: int) -> list[int]:
    """Ports that are free now; below the range that outgoing connections are given, so that they stay so."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for port in range(10_000 + os.getpid() % 1000 * 10, lowest):
            sock = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError("no free ports")
