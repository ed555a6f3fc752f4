"""Unary RPC rates and latencies of a worker and of the edge against a bare grpc.aio server, in one run.

    python -m benchmarks.rpc [--seconds 5] [--rounds 3]

Every server is a process of its own on core 0; the caller, with 32 calls in flight, is on core 1. The caller is Python
too and may be the slower end, so besides calls/s the CPU time that the server spent on a call is given: its ratio is
what the service adds. Rounds alternate between the servers and the median is printed. Latencies are those of one call
at a time. SubmitJob has the edge's decisions on: an API key, permissions, content rules and the refusal, a preset, a
style, a quality, an aspect ratio, what the connected worker's model can do, tokens counted by that worker with
CLIP's own tokenizers, quotas, a webhook, and the durable write. No prompt is improved and no picture is fetched: those
take as long as a chat model and a foreign server do.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import uvloop
from tokenizers import Tokenizer

from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from atelier.small_models import ensure
from edge_service.bootstrap import Edge
from edge_service.config import EdgeConfig
from shared.config import ServiceConfig
from shared.server import OPTIONS, Server, freeze_heap
from shared.worker.description import WorkerConfig
from shared.worker.engine import Model
from shared.worker.models import Models
from shared.worker.service import WorkerServicer
from shared.worker.slots import Slots
from shared.worker.tokens import Counter, TokenCount

IN_FLIGHT = 32
# Calls whose latency is measured, and those before them that are not.
TIMED, WARMING = 300, 30
TOKEN = "token-of-a-benchmark"
ANIMALS, PLACES = ("red fox", "grey wolf", "brown bear", "white hare"), ("deep snow", "a dark forest", "tall grass")
DESCRIBE = "/atelier.worker.v1.WorkerService/Describe"
LIST_WORKERS = "/atelier.edge.v1.FleetService/ListWorkers"
GET_JOB = "/atelier.edge.v1.JobService/GetJob"
SUBMIT = "/atelier.edge.v1.JobService/SubmitJob"
MODEL = Model("sdxl", "none", ("compel",), size_multiple=8, min_side=64, max_pixels=2**22)
CONFIG = WorkerConfig("bench", "sdxl", ("sdxl_image_fast",), (MODEL,), 1, "cpu", "float32", "0")


class BareWorker(worker_pb2_grpc.WorkerServiceServicer):
    """What the baseline answers: a fixed small message."""

    async def Describe(self, request: Any, context: Any) -> worker_pb2.DescribeResponse:
        return worker_pb2.DescribeResponse(worker=worker_pb2.WorkerDescription(worker_id="bench"))


class Tokenizers(Models[Any]):
    """A model that only counts tokens."""

    loaded = (MODEL,)

    def __init__(self, counters: Sequence[Counter]) -> None:
        super().__init__((), lambda on_change: None)
        self._counters = counters

    def count_tokens(self, name: str, texts: Sequence[str]) -> list[TokenCount]:
        return [counter.count(texts) for counter in self._counters]


class Worker:
    """A worker without an engine, which takes no jobs: everything around the call is real, and it counts tokens."""

    names = ("atelier.worker.v1.WorkerService",)
    guard = None

    def register(self, server: grpc.aio.Server) -> None:
        folder = ensure(["sdxl"])["sdxl"]
        tokenizers = {"clip_l": folder / "tokenizer", "clip_g": folder / "tokenizer_2"}
        files = {name: str(at / "tokenizer.json") for name, at in tokenizers.items()}
        counters = [Counter(name, Tokenizer.from_file(file), 77) for name, file in files.items()]
        servicer = WorkerServicer(Slots(1, 1), Tokenizers(counters), lambda: CONFIG)
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(servicer, server)

    async def load(self) -> None: ...

    def drain(self) -> None: ...

    async def close(self) -> None: ...


async def bare(pipe: Any, folder: str, workers: str) -> None:
    server = grpc.aio.server(options=OPTIONS)
    worker_pb2_grpc.add_WorkerServiceServicer_to_server(BareWorker(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(f"127.0.0.1:{port}")
    await asyncio.Event().wait()


async def worker(pipe: Any, folder: str, workers: str) -> None:
    await _serve(Worker(), ServiceConfig(), pipe)


async def edge(pipe: Any, folder: str, workers: str) -> None:
    config = EdgeConfig(
        listen="127.0.0.1:0", http_listen="127.0.0.1:0", data=Path(folder), token=TOKEN, drain_seconds=0,
        workers=workers, assets=(Path(folder) / "user-library").as_uri(),
    )  # fmt: skip
    await _serve(Edge(config), config, pipe)


async def _serve(service: Any, config: ServiceConfig, pipe: Any) -> None:
    server = Server(service, config)
    await server.start()
    freeze_heap()
    pipe.send(server.address)
    await asyncio.to_thread(pipe.recv)
    await server.stop()


def _child(role: Callable[..., Any], pipe: Any, folder: str, workers: str) -> None:
    os.sched_setaffinity(0, {0})
    uvloop.run(role(pipe, folder, workers))


@dataclass
class Target:
    """One RPC of one server process, and what was measured of it."""

    name: str
    address: str
    pid: int
    method: str
    body: Callable[[], bytes]
    token: str = TOKEN
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    async def measure(self, seconds: float) -> None:
        process = psutil.Process(self.pid)
        before, started = sum(process.cpu_times()[:2]), time.perf_counter()
        calls = await _load(self, seconds)
        self.rates.append(calls / (time.perf_counter() - started))
        self.cpu.append((sum(process.cpu_times()[:2]) - before) / calls * 1e6)


async def _load(target: Target, seconds: float) -> int:
    until, metadata, calls = time.perf_counter() + seconds, (("authorization", f"Bearer {target.token}"),), 0

    async def caller(call: Any) -> None:
        nonlocal calls
        while time.perf_counter() < until:
            await call(target.body(), metadata=metadata)
            calls += 1

    async with grpc.aio.insecure_channel(target.address) as channel:
        call = channel.unary_unary(target.method)
        await asyncio.gather(*(caller(call) for _ in range(IN_FLIGHT)))
    return calls


async def _time(target: Target, calls: int) -> None:
    """Times calls one after the other, in seconds each."""
    metadata = (("authorization", f"Bearer {target.token}"),)
    async with grpc.aio.insecure_channel(target.address) as channel:
        call = channel.unary_unary(target.method)
        for number in range(calls + WARMING):
            started = time.perf_counter()
            await call(target.body(), metadata=metadata)
            if number >= WARMING:
                target.latencies.append(time.perf_counter() - started)


def _submission() -> edge_pb2.SubmitJobRequest:
    """A request with a prompt that never came before: what was found in a text is remembered for a while."""
    request = edge_pb2.SubmitJobRequest(preset="sdxl_draft", style="photo", quality="high", aspect_ratio="16:9")
    animal, place = (random.choice(words) for words in (ANIMALS, PLACES))
    prompt = f"a {animal} in {place} at dawn, breath in the cold air, {random.randbytes(4).hex()}, seen from afar"
    request.sdxl.type, request.sdxl.prompt = 1, prompt
    request.webhook.url = "https://example.com/hooks/atelier"
    return request


async def _prepared(address: str) -> tuple[str, str]:
    """The id of a job and an API key; the edge has met its worker by then."""
    metadata = (("authorization", f"Bearer {TOKEN}"),)
    async with grpc.aio.insecure_channel(address) as channel:
        account = edge_pb2_grpc.AccountServiceStub(channel)
        made = await account.CreateKey(edge_pb2.CreateKeyRequest(name="benchmark"), metadata=metadata)
        jobs = edge_pb2_grpc.JobServiceStub(channel)
        while True:
            job = (await jobs.SubmitJob(_submission(), metadata=metadata)).job
            if not any("no worker answered" in decision.why for decision in job.decisions):
                return job.id, made.secret
            await asyncio.sleep(0.2)


async def main(seconds: float, rounds: int) -> None:
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        children, addresses = [], {}
        for role in (bare, worker, edge):
            here, there = spawn.Pipe()
            child = spawn.Process(target=_child, args=(role, there, folder, addresses.get(worker, "")), daemon=True)
            child.start()
            addresses[role] = await asyncio.to_thread(here.recv)
            children.append((child, here))
        os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
        job_id, key = await _prepared(addresses[edge])
        job = edge_pb2.GetJobRequest(job_id=job_id).SerializeToString()
        pids = [child.pid or 0 for child, _ in children]
        targets = [
            Target("bare grpc.aio, no-op", addresses[bare], pids[0], DESCRIBE, bytes),
            Target("worker, Describe", addresses[worker], pids[1], DESCRIBE, bytes),
            Target("edge, ListWorkers", addresses[edge], pids[2], LIST_WORKERS, bytes),
            Target("edge, GetJob", addresses[edge], pids[2], GET_JOB, lambda: job),
            Target("edge, SubmitJob", addresses[edge], pids[2], SUBMIT, lambda: _submission().SerializeToString(), key),
        ]
        for _ in range(rounds):
            for target in targets:
                await target.measure(seconds)
        for target in targets:
            await _time(target, TIMED)
        _print(targets)
        for child, pipe in children[1:]:
            pipe.send("stop")
            child.join(20)


def _print(targets: list[Target]) -> None:
    rate, cpu = statistics.median(targets[0].rates), statistics.median(targets[0].cpu)
    print(f"{'':24}{'calls/s':>10}{'ratio':>8}{'CPU us/call':>14}{'ratio':>8}{'p50 ms':>9}{'p99 ms':>9}")
    for target in targets:
        own_rate, own_cpu = statistics.median(target.rates), statistics.median(target.cpu)
        p50, p99 = (statistics.quantiles(target.latencies, n=100)[place] * 1000 for place in (49, 98))
        rates = f"{own_rate:10.0f}{own_rate / rate:8.2f}{own_cpu:14.0f}{own_cpu / cpu:8.2f}"
        print(f"{target.name:24}{rates}{p50:9.2f}{p99:9.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="length of one round of one server")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server; the median counts")
    options = parser.parse_args()
    uvloop.run(main(options.seconds, options.rounds))
