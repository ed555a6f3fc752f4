"""Runs one gRPC server from start to drain, the same way for every service.

Health answers from the first moment: NOT_SERVING while `load` runs, SERVING after it, NOT_SERVING again from SIGTERM
on, while running work has `drain_seconds` to end. What does not end by then, or by a second signal, is handed back: its
caller is told Draining, as one is who comes too late.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from atelier.contracts.errors import AtelierError, ModelUnusable
from shared import telemetry
from shared.config import ServiceConfig
from shared.health import Health
from shared.interceptors import Guard, Interceptor

log = logging.getLogger(__name__)

FOREVER = 1e6
# Streams that end by themselves when a service drains need a moment for it, though other calls get none.
MOMENT_SECONDS = 0.1
# Time for calls that are handed back to stop what they were doing: a step of the engine, a file half written.
HAND_BACK_SECONDS = 8.0
# How long after that a call may still not have ended, before it counts as lost.
LOST_CALL_SECONDS = 2.0
# Time for freeing everything after that. A process that still has not ended then never will.
CLOSE_SECONDS = 30.0
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
OPTIONS = (
    ("grpc.so_reuseport", 0),  # otherwise two servers bind one port and say nothing
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),  # without it a frozen peer goes unnoticed for over 30 s
    # Peers ping every 5 s; a server that was busy for a moment reads two pings sooner after each other than that, and
    # must not take them for an attack: it would answer "too_many_pings" and close the connection.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 2_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)


class Service(Protocol):
    """What a service brings to `serve`."""

    @property
    def names(self) -> Sequence[str]:
        """Full names of the gRPC services, for health and reflection."""

    @property
    def guard(self) -> Guard | None:
        """Who may call; None lets everyone."""

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the servicers."""

    async def load(self) -> None:
        """Does what must be done before the first call; raising stops the process."""

    def drain(self) -> None:
        """Takes no new work from now on."""

    async def close(self) -> None:
        """Frees everything after the last call has ended, or after `load` has failed."""


class Server:
    """A running service. `start` binds and loads; `stop` drains."""

    def __init__(self, service: Service, config: ServiceConfig) -> None:
        self._service, self._config = service, config
        self._health, self._interceptor = Health(), Interceptor(service.guard)
        self._server = grpc.aio.server(interceptors=[self._interceptor], options=OPTIONS)
        self._hurried = asyncio.Event()
        self.address = ""

    async def start(self) -> None:
        """Opens the port, loads, then reports SERVING. The bound address is `self.address`."""
        self._service.register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*self._service.names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        await self._report(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.address = self._bind()
        await self._server.start()
        log.info("listening", extra={"address": self.address})
        write_address(self._config.address_file, self.address)
        await self._service.load()
        await self._report(health_pb2.HealthCheckResponse.SERVING)
        log.info("ready", extra={"address": self.address})

    async def stop(self) -> None:
        """Reports NOT_SERVING, lets running calls end, hands back those that do not, then frees everything."""
        self._service.drain()
        await self._health.enter_graceful_shutdown()
        await self._drained()
        self._interceptor.calls.hand_back()
        # Not awaited for ever: gRPC at times loses the end of a call that was cancelled, and waits for it until killed.
        stopped = asyncio.ensure_future(self._server.stop(HAND_BACK_SECONDS))
        if not (await asyncio.wait({stopped}, timeout=HAND_BACK_SECONDS + LOST_CALL_SECONDS))[0]:
            log.warning("a call did not end")
            stopped.cancel()
        await self._service.close()

    def force_stop(self) -> None:
        """Hands back what still runs, now."""
        self._hurried.set()

    async def _drained(self) -> None:
        """Takes no new call and waits until all have ended, it takes too long, or `force_stop` is called."""
        ending = asyncio.ensure_future(self._server.stop(FOREVER))
        hurried = asyncio.ensure_future(self._hurried.wait())
        seconds = max(self._config.drain_seconds, MOMENT_SECONDS)
        await asyncio.wait({ending, hurried}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (ending, hurried):
            task.cancel()
        await asyncio.gather(ending, hurried, return_exceptions=True)

    def _bind(self) -> str:
        host = self._config.listen.rpartition(":")[0]
        try:
            port = self._open()
        except RuntimeError:
            raise SystemExit(
                f"cannot listen on {self._config.listen}: is the port taken, or not of this host?"
            ) from None
        return f"{host}:{port}"

    def _open(self) -> int:
        if certificates := self._config.certificates:
            return self._server.add_secure_port(self._config.listen, certificates.for_server())
        return self._server.add_insecure_port(self._config.listen)

    async def _report(self, state: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", *self._service.names):
            await self._health.set(name, state)


def write_address(file: str, address: str) -> None:
    """Tells the parent process where this one listens; readers never see half of it."""
    if file:
        path = Path(file)
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_text(address)
        scratch.replace(path)


def run(service: Service, config: ServiceConfig) -> None:
    """Serves until SIGTERM or SIGINT, then drains; a second one hurries. The last line of every `__main__`."""
    telemetry.start_logging(config.log_level, config.log_format)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            uvloop.run(_run(service, config))
        except (ModelUnusable, AtelierError) as error:
            sys.exit(str(error))  # what is missing or broken, in one line


async def _run(service: Service, config: ServiceConfig) -> None:
    stop, server = asyncio.Event(), Server(service, config)

    def told() -> None:
        if stop.is_set():
            server.force_stop()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told)
    starting, stopping = asyncio.ensure_future(server.start()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        freeze_heap()
        await stopping
        log.info("draining", extra={"seconds": config.drain_seconds})
    finally:
        starting.cancel()
        with _ends_within(config.drain_seconds + HAND_BACK_SECONDS + CLOSE_SECONDS):
            await server.stop()
    log.info("stopped")


def freeze_heap() -> None:
    """Takes what a started service keeps (modules, tables, models) out of garbage collection: looking at it again and
    again is a twentieth of a busy service's time. Python's advice for this is the same; see `gc.freeze`."""
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def _ends_within(seconds: float) -> Iterator[None]:
    """Ends the process if the block does not end: its supervisor waits for that, and others do its work by then."""
    loop, tasks = asyncio.get_running_loop(), asyncio.all_tasks

    def give_up() -> None:
        where = [_where(task.get_coro()) for task in tasks(loop)]
        log.error("did not stop in time", extra={"seconds": seconds, "tasks": where})
        os._exit(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _where(waiting: Any) -> str:
    """What a task waits for: the functions that wait, outermost first."""
    names = []
    while (code := getattr(waiting, "cr_code", None) or getattr(waiting, "ag_code", None)) is not None:
        names.append(code.co_qualname)
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
    return " > ".join(names)
