"""Opens the stack in the right order, keeps it running, and closes it."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from filelock import FileLock, Timeout

from atelier import envoy, small_models
from atelier.client import AsyncClient
from atelier.connection import addresses_file, running_addresses
from atelier.launcher import database, ports, programs, readiness
from atelier.launcher.child import POLL_SECONDS, Child, Program, Report, StartFailed
from atelier.launcher.programs import DRAIN_SECONDS, WORKERS, Plan

# Over the time that a service takes to drain there must be some to close what it holds, such as a database.
STOP_SECONDS = DRAIN_SECONDS + 10


class Stack:
    """The edge, three workers and the proxy for browsers, on the ports of one machine."""

    def __init__(self, plan: Plan, report: Report) -> None:
        """`report` gets the name of a process and one line about it or from it."""
        self._plan, self._report = plan, report
        self._run = plan.data / "run"
        self._lock = FileLock(plan.data / ".up.lock")
        self._web = ""
        self.children: dict[str, Child] = {}
        self._watches: list[asyncio.Task[None]] = []

    @property
    def addresses(self) -> dict[str, str]:
        """What listens where, host:port; `grpc_web` is a URL."""
        grpc = {name: self.children[name].addresses["grpc"] for name in ("edge", *WORKERS)}
        return {**grpc, "http": self.children["edge"].addresses["http"], "grpc_web": f"http://{self._web}"}

    async def start(self) -> None:
        """Starts everything and returns when a job of every kind would be taken. Raises StartFailed."""
        self._take_lock()
        await self._check_policies()
        models = await self._models()
        self._failed = asyncio.get_running_loop().create_future()
        opening = asyncio.create_task(self._open(models))
        try:
            await asyncio.wait({opening, self._failed}, return_when=asyncio.FIRST_COMPLETED)
            (self._failed if self._failed.done() else opening).result()
        finally:
            for task in (opening, *self._watches):
                task.cancel()

    async def _open(self, models: dict[str, str]) -> None:
        workers = [await self._start(programs.worker(name, self._plan, models[name])) for name in WORKERS]
        await asyncio.gather(*(worker.bound() for worker in workers))
        last = ports.remembered(self._run)
        edge = await self._start(programs.edge(self._plan, [worker.addresses["grpc"] for worker in workers], last))
        await edge.bound()
        self._web = await self._open_to_browsers(edge.addresses["grpc"], last.get("grpc_web"))
        await asyncio.gather(*(readiness.serving(child.addresses["grpc"]) for child in [*workers, edge]))
        async with self.client() as client:
            await readiness.accepting(client, len(workers))
        self._write_addresses()

    def client(self) -> AsyncClient:
        """A client of this stack."""
        token = os.environ.get("ATELIER_TOKEN") or (self._plan.data / "token").read_text().strip()
        return AsyncClient(self.children["edge"].addresses["grpc"], token)

    async def supervise(self) -> None:
        """Starts again whatever ends by itself, until it is stopped."""
        await asyncio.gather(*(child.supervise() for child in self.children.values()))

    async def stop(self) -> None:
        """Stops everything: running work may end, the rest is killed. Cancelled, it kills at once."""
        try:
            await asyncio.gather(*(child.stop(STOP_SECONDS) for child in self.children.values()))
            if self._lock.is_locked:
                await database.stop_left_behind(self._plan.data / "postgres", STOP_SECONDS)
        finally:
            for child in self.children.values():
                child.kill()
            if self._lock.is_locked:  # otherwise database and addresses are those of another stack
                database.ask_to_stop(self._plan.data / "postgres")  # a killed edge could not
                addresses_file(self._plan.data).unlink(missing_ok=True)
                self._lock.release()

    async def _start(self, program: Program) -> Child:
        child = Child(program, self._run, self._report)
        self.children[child.name] = child
        await child.start()
        self._watches.append(asyncio.create_task(self._watch(child)))
        return child

    async def _watch(self, child: Child) -> None:
        """Ends the start, however far it is, when a child ends that should not."""
        await child.ended()
        if not self._failed.done():
            said = child.last_line or "it said nothing"
            self._failed.set_exception(StartFailed(f"{child.name} did not start: {said}"))

    async def _open_to_browsers(self, edge: str, last: str | None) -> str:
        try:
            command = envoy.command(edge, ports.again(self._plan.web_listen, last), self._run)
        except ValueError as error:
            raise StartFailed(f"the proxy cannot start: {error}") from None
        await self._start(Program("envoy", tuple(command)))
        bound = await _proxy_address(self._run)
        # Its configuration is rewritten with the port it took, which it will have again after a restart.
        envoy.command(edge, bound, self._run)
        return bound

    def _take_lock(self) -> None:
        try:
            self._run.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            at = running_addresses(self._plan.data).get("edge", "still starting")
            raise StartFailed(f"already running on {self._plan.data} (edge: {at}); stop that one first") from None
        except OSError as error:
            raise StartFailed(f"cannot write to {self._plan.data}: {error.strerror}; set ATELIER_DATA") from None

    async def _models(self) -> dict[str, str]:
        small = [name for name in WORKERS if name not in self._plan.models]
        if small:
            # In a process of its own: making one loads torch, whose memory the launcher would keep for ever.
            maker = Program("models", (sys.executable, "-m", "atelier.small_models", *small), programs.found_here())
            await self._finish(maker, self._report)
        return {name: str(path) for name, path in small_models.ensure(small).items()} | self._plan.models

    async def _check_policies(self) -> None:
        """Says every mistake before anything runs that would have to be stopped for it."""
        if not os.environ.get("ATELIER_POLICIES"):
            return  # those that Atelier brings are good, and asking takes a second
        said: list[str] = []
        try:
            await self._finish(programs.policy_check(), lambda _, line: said.append(line))
        except StartFailed:
            raise StartFailed("\n".join(said)) from None

    async def _finish(self, program: Program, report: Report) -> None:
        child = self.children[program.name] = Child(program, self._run, report)
        await child.start()
        if await child.ended():
            raise StartFailed(child.last_line)
        del self.children[program.name]

    def _write_addresses(self) -> None:
        path = addresses_file(self._plan.data)
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps(self.addresses, indent=2) + "\n")
        scratch.replace(path)
        ports.remember(self._run, self.addresses)


@contextlib.asynccontextmanager
async def opened(plan: Plan, report: Report) -> AsyncIterator[Stack]:
    """A stack that is ready, and stopped at the end of the block. Raises StartFailed."""
    stack = Stack(plan, report)
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


async def _proxy_address(folder: Path) -> str:
    while not (address := await asyncio.to_thread(envoy.bound_address, folder)):  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(POLL_SECONDS)
    return address
