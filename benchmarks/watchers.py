"""How many watchers one edge process serves, against a bare grpc.aio server, and what those cost who never read.

    python -m benchmarks.watchers [--seconds 10] [--watchers 1000 5000] [--slow 200]

The watchers are spread over the jobs, which make 10 progress events a second each, or so many that 10,000 messages a
second are to be sent: what is promised of a core. The server under test is a process of
its own on core 0; the callers, the database and the writer of the events share core 1 and may be the slower end: the
CPU time that the server spent on a message says how many a core can deliver. The bare server sends the same message to
as many streams as often, without a database. Every watcher checks that its numbers rise by one. A run is called invalid
in which the jobs made less than 95 % of their events, or the watchers got less than 95 % of them.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import psycopg
import uvloop

from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from atelier.pb.job.v1 import job_pb2
from edge_service.adapters.database import EmbeddedPostgres
from edge_service.adapters.notifications import CHANGED
from edge_service.bootstrap import Edge
from edge_service.config import EdgeConfig
from shared.server import OPTIONS, Server

TOKEN, OWNER = "benchmark", "developer"
WATCH = "/atelier.edge.v1.JobService/WatchJob"
JOBS, GROUPS, BACKLOG, CONNECTIONS = 50, 10, 5_000, 8
MAX_EVENTS, MAX_MESSAGES = 10.0, 10_000.0  # a second: of a job, and of all watchers
STARTING_SECONDS, SETTLING_SECONDS = 5.0, 10.0
STEP = edge_pb2.JobEvent(
    progress=job_pb2.Progress(phase=job_pb2.PHASE_DENOISING, step=7, total_steps=25, elapsed_seconds=3.5)
).SerializeToString()
INSERT = """
INSERT INTO jobs (id, owner, type, worker_type, interactive, status, plan, decisions, deadline, lease_expires, attempt)
SELECT unnest(%s::text[]), %s, 'sdxl_image_fast', 'sdxl', false, 'processing', '', '', now() + interval '1 day',
    now() + interval '1 day', 1"""
ADVANCE = """
WITH moved AS (UPDATE jobs SET last_sequence = last_sequence + 1 WHERE id = ANY(%s) RETURNING id, last_sequence)
INSERT INTO events (job_id, sequence, time, event) SELECT id, last_sequence, clock_timestamp(), %s FROM moved"""
FILL = """
WITH moved AS (UPDATE jobs SET last_sequence = last_sequence + %(count)s WHERE id = ANY(%(ids)s) RETURNING id)
INSERT INTO events (job_id, sequence, event)
SELECT id, place, %(event)s FROM moved, generate_series(1, %(count)s) AS place"""
LAST = "SELECT min(last_sequence), max(last_sequence) FROM jobs"


class BareJobs(edge_pb2_grpc.JobServiceServicer):
    """The baseline: one message to every stream, as often as the jobs make events."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    async def tick(self, pipe: Any) -> None:
        began, turn, rate = time.perf_counter(), 0, MAX_EVENTS
        while True:
            turn += 1
            await asyncio.sleep(began + turn / rate - time.perf_counter())
            if pipe.poll():
                began, turn, rate = time.perf_counter(), 0, pipe.recv()
            for event in self._waiting:
                event.set()

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[edge_pb2.WatchJobResponse]:
        due, response = asyncio.Event(), edge_pb2.WatchJobResponse()
        response.event.MergeFromString(STEP)
        self._waiting.add(due)
        try:
            while True:
                await due.wait()
                due.clear()
                response.event.sequence += 1
                response.event.time.GetCurrentTime()
                yield response
        finally:
            self._waiting.discard(due)


async def bare(pipe: Any, url: str, folder: str) -> None:
    server, jobs = grpc.aio.server(options=OPTIONS), BareJobs()
    edge_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(f"127.0.0.1:{port}")
    await jobs.tick(pipe)


async def edge(pipe: Any, url: str, folder: str) -> None:
    config = EdgeConfig(
        listen="127.0.0.1:0", http_listen="127.0.0.1:0", data=Path(folder), token=TOKEN, drain_seconds=0,
        database_url=url, assets=(Path(folder) / "user-library").as_uri(),
    )  # fmt: skip
    server = Server(Edge(config), config)
    await server.start()
    pipe.send(server.address)
    await asyncio.to_thread(pipe.recv)
    await server.stop()


def _child(role: Callable[..., Any], pipe: Any, url: str, folder: str, core: int) -> None:
    os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})
    uvloop.run(role(pipe, url, folder))


@dataclass
class Target:
    """A server process under test, and its memory and processor time."""

    name: str
    address: str
    process: psutil.Process
    pipe: Any

    @property
    def is_bare(self) -> bool:
        return "bare" in self.name

    def cpu(self) -> float:
        return float(sum(self.process.cpu_times()[:2]))

    def memory(self) -> int:
        return int(self.process.memory_info().rss)


@dataclass
class Seen:
    """What the watchers of one run got: messages, seconds some came after their events, numbers that did not rise."""

    messages: int = 0
    wrong: int = 0
    delays: list[float] = field(default_factory=list)

    def percentile(self, percent: int) -> float:
        return statistics.quantiles(self.delays, n=100)[percent - 1] * 1000 if len(self.delays) > 1 else 0.0


class Crowd:
    """Many watchers of one server, over a few connections of their own."""

    def __init__(self, address: str, seen: Seen) -> None:
        # The network between takes 64 KiB for each stream and no more, so that one that is not read soon stands still.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
        self._channels = [grpc.aio.insecure_channel(address, options) for _ in range(CONNECTIONS)]
        self._seen = seen
        self._calls: list[Any] = []

    def watch(self, count: int, after: int) -> list[asyncio.Task[None]]:
        """Starts watchers that read."""
        return [asyncio.create_task(self._persist(number, after)) for number in range(count)]

    def stare(self, count: int) -> None:
        """Starts watchers that never read, from the beginning of the log."""
        self._calls += [self._call(number, 0) for number in range(count)]

    def _call(self, number: int, after: int) -> Any:
        request = edge_pb2.WatchJobRequest(job_id=job_id(number % JOBS), after_sequence=after)
        call = self._channels[number % CONNECTIONS].unary_stream(WATCH)
        return call(request.SerializeToString(), metadata=(("authorization", f"Bearer {TOKEN}"),))

    async def _persist(self, number: int, after: int) -> None:
        while True:  # gRPC refuses calls while a thousand wait for the server
            await asyncio.sleep(random.uniform(0, STARTING_SECONDS))
            try:
                await self._follow(self._call(number, after), after)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.CANCELLED:
                    raise

    async def _follow(self, call: Any, last: int) -> None:
        try:
            async for data in call:
                event = edge_pb2.WatchJobResponse.FromString(data).event
                if event.sequence:
                    self._seen.messages += 1
                    self._seen.wrong += event.sequence != last + 1
                    if event.sequence % 8 == 0:
                        self._seen.delays.append(time.time() - event.time.ToNanoseconds() / 1e9)
                    last = event.sequence
        finally:
            call.cancel()

    async def leave(self, watching: list[asyncio.Task[None]]) -> None:
        ended = [task for task in watching if task.done()]
        for task in watching:
            task.cancel()
        for task in ended:
            task.result()  # no watch ends before it is left
        await asyncio.gather(*watching, return_exceptions=True)
        for channel in self._channels:
            await channel.close(None)


def job_id(number: int) -> str:
    return f"sdxl_image_fast_1_{number:06}"


async def work(pipe: Any, url: str, folder: str) -> None:
    """Writes the jobs' events, a group of jobs after the other, and tells of them as another replica would."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        ids = [job_id(number) for number in range(JOBS)]
        await connection.execute(INSERT, [ids, OWNER])
        await connection.execute(FILL, {"ids": ids, "count": BACKLOG, "event": STEP})
        pipe.send("")
        began, turn, rate = time.perf_counter(), 0, MAX_EVENTS
        while True:
            if pipe.poll():
                began, turn, rate = time.perf_counter(), 0, pipe.recv()
            group = ids[turn % GROUPS :: GROUPS]
            await connection.execute(ADVANCE, [group, STEP])
            await connection.execute("SELECT pg_notify(%s, id) FROM unnest(%s::text[]) AS id", [CHANGED, group])
            turn += 1
            await asyncio.sleep(began + turn / GROUPS / rate - time.perf_counter())


@dataclass(frozen=True)
class Log:
    """How far the jobs are."""

    connection: psycopg.AsyncConnection[Any]

    async def last(self) -> int:
        row = await (await self.connection.execute(LAST)).fetchone()
        return int(row[0]) if row else 0


@dataclass(frozen=True)
class Result:
    """Messages per second and microseconds of CPU for each, what the watchers saw, and whether all kept pace."""

    rate: float
    cpu: float
    seen: Seen
    is_valid: bool


async def _measure(target: Target, log: Log, watchers: int, rate: float, seconds: float) -> Result:
    seen = Seen()
    crowd = Crowd(target.address, seen)
    watching = crowd.watch(watchers, 0 if target.is_bare else await log.last())
    while seen.messages < watchers:
        await asyncio.sleep(0.1)
    await asyncio.sleep(SETTLING_SECONDS)
    written, before, cpu, began = await log.last(), seen.messages, target.cpu(), time.perf_counter()
    seen.delays.clear()
    await asyncio.sleep(seconds)
    messages, used, spent = seen.messages - before, target.cpu() - cpu, time.perf_counter() - began
    is_valid = await log.last() - written >= 0.95 * rate * spent - 1 and messages >= 0.95 * watchers * rate * spent
    await crowd.leave(watching)
    return Result(messages / spent, used / messages * 1e6, seen, is_valid)


def _print_head() -> None:
    print(f"{'':16}{'watchers':>9}{'messages/s':>12}{'of stated':>11}{'ratio':>7}{'CPU us each':>13}", end="")
    print(f"{'ratio':>7}{'a core/s':>10}{'p50 ms':>8}{'p99 ms':>8}{'wrong':>7}")


async def _compare(targets: list[Target], log: Log, watchers: int, rate: float, seconds: float) -> None:
    base: Result | None = None
    for target in targets:
        found = await _measure(target, log, watchers, rate, seconds)
        base = base or found
        print(f"{target.name:16}{watchers:9}{found.rate:12.0f}{found.rate / watchers / rate:11.2f}", end="")
        print(
            f"{found.rate / base.rate:7.2f}{found.cpu:13.0f}{found.cpu / base.cpu:7.2f}{1e6 / found.cpu:10.0f}", end=""
        )
        print(f"{found.seen.percentile(50):8.1f}{found.seen.percentile(99):8.1f}{found.seen.wrong:7}", end="")
        print("" if found.is_valid else "  invalid: below its load; only the CPU counts")


async def _load(target: Target, seconds: float) -> float:
    """The share of a core that the server uses."""
    cpu = target.cpu()
    await asyncio.sleep(seconds)
    return (target.cpu() - cpu) / seconds


async def _calm(target: Target, load: float) -> None:
    """Waits until those who never read have had what the network takes of the old events, two minutes at most."""
    calm, until = 0, time.perf_counter() + 120
    while calm < 3 and time.perf_counter() < until:
        calm = calm + 1 if await _load(target, 1) < 1.3 * load + 0.02 else 0


async def _slow(target: Target, log: Log, count: int, seconds: float) -> None:
    """Others' delays without and with watchers that never read, and what each of those costs."""
    seen = Seen()
    crowd, starers = Crowd(target.address, seen), Crowd(target.address, Seen())
    watching = crowd.watch(count, await log.last())
    await asyncio.sleep(SETTLING_SECONDS)
    seen.delays.clear()
    load, memory, without = await _load(target, seconds), target.memory(), seen.percentile(99)
    starers.stare(count)
    await _calm(target, load)
    seen.delays.clear()
    load_with, each, p99 = await _load(target, seconds), (target.memory() - memory) / count / 1024, seen.percentile(99)
    await crowd.leave(watching)
    await starers.leave([])
    print(f"\n{count} watchers that never read cost {each:.0f} KiB each and {load_with - load:.2f} of a core together;")
    print(
        f"the p99 of {count} others is {p99:.1f} ms with them and {without:.1f} ms without, {p99 / without:.2f} times;"
    )
    print(f"wrong numbers: {seen.wrong}")


@contextlib.contextmanager
def _processes(url: str, folder: str) -> Iterator[list[Target]]:
    """Starts the two servers and the writer of the events, which needs the edge's tables."""
    spawn, targets, children = multiprocessing.get_context("spawn"), [], []
    for name, role, core in (("bare grpc.aio", bare, 0), ("edge, WatchJob", edge, 0), ("worker", work, 1)):
        here, there = spawn.Pipe()
        child = spawn.Process(target=_child, args=(role, there, url, folder, core), daemon=True)
        child.start()
        targets.append(Target(name, here.recv(), psutil.Process(child.pid), here))
        children.append(child)
    yield targets
    children[2].terminate()
    targets[1].pipe.send("stop")
    children[1].join(20)


async def main(seconds: float, watchers: list[int], slow: int) -> None:
    os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
    with tempfile.TemporaryDirectory() as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        url = await postgres.start()
        with _processes(url, folder) as (bare_server, edge_server, writer):
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                log = Log(connection)
                _print_head()
                for count in watchers:
                    rate = min(MAX_EVENTS, MAX_MESSAGES / count)
                    bare_server.pipe.send(rate)
                    writer.pipe.send(rate)
                    await _compare([bare_server, edge_server], log, count, rate, seconds)
                writer.pipe.send(MAX_EVENTS)
                await _slow(edge_server, log, slow, seconds)
        await postgres.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="length of one measurement")
    parser.add_argument("--watchers", type=int, nargs="+", default=[1000, 5000], help="how many watch at once")
    parser.add_argument("--slow", type=int, default=200, help="watchers that never read, and as many that do")
    options = parser.parse_args()
    uvloop.run(main(options.seconds, options.watchers, options.slow))
