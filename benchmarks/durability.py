"""What durable jobs cost: rates against bare SQL in the same run, the time to a first event, memory over many jobs.

    python -m benchmarks.durability [--jobs 2000] [--memory-jobs 50000] [--only rates latency submit memory]

Everything is a process of its own on this machine, with stand-in engines that do nothing (see benchmarks/chaos); the
client is Python too and shares the cores. Recovery times are those of `python -m benchmarks.chaos --only recovery`.
"""

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import psutil
import psycopg
import uvloop

from benchmarks.chaos.clients import Caller, callers, chat
from benchmarks.chaos.postgres import Postgres
from benchmarks.chaos.scenario import Bench, percentile
from benchmarks.chaos.stack import Shape, Stack
from benchmarks.chaos.store import open_jobs
from benchmarks.chaos.work import Work

IN_FLIGHT = 32
SLOTS = 16
BATCH = 1000
# What the store does at least, three commits a job: stored, taken, ended.
BARE = (
    "INSERT INTO bare VALUES (%s, 'queued')",
    "UPDATE bare SET status = 'leased' WHERE id = (SELECT id FROM bare WHERE status = 'queued' AND id = %s"
    " FOR UPDATE SKIP LOCKED)",
    "UPDATE bare SET status = 'completed' WHERE id = %s",
)


async def rates(bench: Bench, options: argparse.Namespace) -> None:
    """Jobs a second from the first submission to the last end."""
    bare = await _bare(await bench.postgres.new_database(), options.jobs)
    print(f"{'bare SQL: insert, claim, finish':44}{bare:8.0f} jobs/s")
    for edges in (1, 2):
        async with bench.stack(Shape(edges=edges, chat_workers=2, chat_slots=SLOTS)) as stack:
            await _end_to_end(stack, 100)
            rate = await _end_to_end(stack, options.jobs)
            print(f"{f'end to end, edge replicas: {edges}':44}{rate:8.0f} jobs/s  {rate / bare:.2f} of bare")


async def _bare(url: str, jobs: int) -> float:
    numbers = itertools.count()

    async def client() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            while (number := next(numbers)) < jobs:
                for statement in BARE:
                    await connection.execute(statement.encode(), [number])

    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE bare (id integer PRIMARY KEY, status text NOT NULL)")
    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(10)))
    return jobs / (time.perf_counter() - started)


async def _end_to_end(stack: Stack, jobs: int) -> float:
    started = time.perf_counter()
    await _submit(stack, jobs)
    while await open_jobs(stack.url):
        await asyncio.sleep(0.05)
    return jobs / (time.perf_counter() - started)


async def _submit(stack: Stack, jobs: int) -> None:
    """Submits jobs that take no time, many at once, to all edges alike."""
    ordinals = iter(range(jobs))

    async def submitter(caller: Caller) -> None:
        for number in ordinals:
            await caller.submit_once(chat(Work(f"job-{number}", steps=1)))
            stack.history.entries.clear()

    turns = [stack.edges[number % len(stack.edges) :] for number in range(8)]
    async with callers(*(stack.caller(f"admin-{n}", edges) for n, edges in enumerate(turns))) as crowd:
        await asyncio.gather(*(submitter(crowd[number % len(crowd)]) for number in range(IN_FLIGHT)))


async def latency(bench: Bench, options: argparse.Namespace) -> None:
    """From SubmitJob to what the worker said first, one job at a time on an idle stack."""
    for edges in (1, 2):
        async with bench.stack(Shape(edges=edges, chat_workers=1)) as stack, callers(stack.caller("admin-0")) as (one,):
            taken = [await _first_event(one, number) for number in range(220)][20:]
            p50, p99 = percentile(taken, 0.5) * 1000, percentile(taken, 0.99) * 1000
            print(f"{f'first worker event, edge replicas: {edges}':44}p50 {p50:.1f} ms, p99 {p99:.1f} ms")


async def _first_event(caller: Caller, number: int) -> float:
    started = time.perf_counter()
    job = await caller.submit_once(chat(Work(f"job-{number}", steps=1)))
    taken = 0.0
    async for event in caller.watch(job.id):
        if not taken and (event.HasField("progress") or event.HasField("delta")):
            taken = time.perf_counter() - started
    return taken


async def submit(bench: Bench, options: argparse.Namespace) -> None:
    """SubmitJob alone, no worker: calls a second of one edge, and its CPU time for a call."""
    async with bench.stack(Shape(edges=1, chat_workers=0)) as stack:
        await _submit(stack, 100)
        process = psutil.Process(stack.edges[0].pid)
        before, started = sum(process.cpu_times()[:2]), time.perf_counter()
        await _submit(stack, options.jobs)
        rate = options.jobs / (time.perf_counter() - started)
        cpu = (sum(process.cpu_times()[:2]) - before) / options.jobs
        print(f"{'SubmitJob, one edge':44}{rate:8.0f} calls/s, {cpu * 1e6:.0f} us of its CPU: {1 / cpu:.0f} a core")


async def memory(bench: Bench, options: argparse.Namespace) -> None:
    """Resident memory of an edge over many jobs: the second half may grow by 5 %."""
    async with bench.stack(Shape(edges=1, chat_workers=2, chat_slots=SLOTS)) as stack:
        process, samples = psutil.Process(stack.edges[0].pid), list[int]()
        for _ in range(0, options.memory_jobs, BATCH):
            await _end_to_end(stack, BATCH)
            samples.append(process.memory_info().rss)
        assert process.is_running()
        middle = statistics.median(samples[len(samples) // 2 - 2 : len(samples) // 2 + 1])
        end = statistics.median(samples[-3:])
        shown = " ".join(f"{sample / 2**20:.0f}" for sample in samples[:: max(1, len(samples) // 10)])
        print(
            f"{f'memory of an edge over {options.memory_jobs} jobs':44}{shown} MiB; second half {end / middle - 1:+.1%}"
        )


PARTS: dict[str, Callable[[Bench, argparse.Namespace], Awaitable[None]]] = {
    "rates": rates,
    "latency": latency,
    "submit": submit,
    "memory": memory,
}


async def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="durability-", ignore_cleanup_errors=True) as folder:
        postgres = Postgres(Path(folder) / "postgres")
        try:
            await postgres.start()
            bench = Bench(0, False, 0, Path(folder), postgres)
            for name in options.only or PARTS:
                await PARTS[name](bench, options)
        finally:
            await postgres.stop()


def _parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000, help="of a rate")
    parser.add_argument("--memory-jobs", type=int, default=50_000, help="of the figure of memory")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="these figures alone")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    uvloop.run(main(_parsed()))
