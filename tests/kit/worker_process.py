"""A worker in a process of its own, started as `__main__` is, with a small model of the real classes."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).parents[2]


class WorkerProcess:
    """`python -m service`; everything it prints goes to `folder/log`."""

    def __init__(self, service: str, model: str | Path, folder: Path) -> None:
        self.library, self.log = folder / "user-library", folder / "log"
        self._address_file = folder / "address"
        options = [f"--model={model}", f"--assets={self.library.as_uri()}", f"--address-file={self._address_file}"]
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", service, *options, "--log-level=debug"]
            self.child = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    async def ready(self, seconds: float = 120) -> str:
        """The worker's address, once its health is SERVING."""
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(self._address_file.exists):
                self._must_live()
                await asyncio.sleep(0.05)
            address = await asyncio.to_thread(self._address_file.read_text)
            async with grpc.aio.insecure_channel(address) as channel:
                await self._serving(health_pb2_grpc.HealthStub(channel))
        return address

    async def _serving(self, health: health_pb2_grpc.HealthStub) -> None:
        while (await health.Check(health_pb2.HealthCheckRequest())).status != health_pb2.HealthCheckResponse.SERVING:
            self._must_live()
            await asyncio.sleep(0.05)

    def _must_live(self) -> None:
        assert self.child.poll() is None, self.log.read_text()

    def stop(self) -> int:
        """Drains the worker; returns its exit status."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(60)

    def files(self) -> list[str]:
        return sorted(str(p.relative_to(self.library)) for p in self.library.rglob("*") if p.is_file())


@asynccontextmanager
async def running(
    service: str, model: str | Path, folder: Path
) -> AsyncIterator[tuple[WorkerProcess, grpc.aio.Channel]]:
    """A worker that serves, and a channel to it."""
    process = WorkerProcess(service, model, folder)
    try:
        async with grpc.aio.insecure_channel(await process.ready()) as channel:
            yield process, channel
    finally:
        process.child.kill()
        process.child.wait()
