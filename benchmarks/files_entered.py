"""How many of our files a request enters, and how often it moves from one to another: a measure of the structure.

    python -m benchmarks.files_entered [--list]

Traces one SubmitJob of the smallest image request inside an edge with its own PostgreSQL and no worker, after one that
is not counted, so that nothing is entered only because it is the first time. A file is entered when one of its
functions is called while the RPC is handled; generated stubs do not count. `planning` is the part within Planner.job.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import grpc

from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from edge_service.bootstrap import Edge
from edge_service.config import EdgeConfig
from edge_service.planning.planner import Planner
from shared.server import Server

ROOT = Path(__file__).parent.parent
OURS = ("edge_service", "shared", "atelier")
TOKEN = "token-of-a-benchmark"
DOOR = "edge_service/doors/grpc/jobs.py"


class Trace:
    """The files that were entered, in order; one that is entered twice in a row counts once."""

    def __init__(self) -> None:
        self._calls: list[tuple[int, str]] = []

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and (name := _ours(frame.f_code.co_filename)):
            self._calls.append((_task(), name))

    @property
    def entered(self) -> list[str]:
        """Of the task that handles the RPC alone, not of what else the edge does meanwhile."""
        rpc = next((task for task, name in self._calls if name == DOOR), None)
        names = [name for task, name in self._calls if rpc is None or task == rpc]
        return [name for name, before in zip(names, ["", *names], strict=False) if name != before]

    @property
    def files(self) -> list[str]:
        return sorted(set(self.entered))


def _task() -> int:
    try:
        return id(asyncio.current_task())
    except RuntimeError:  # outside of any
        return 0


def _ours(filename: str) -> str:
    try:
        path = Path(filename).relative_to(ROOT)
    except ValueError:
        return ""
    return str(path) if path.parts[0] in OURS and "pb" not in path.parts else ""


@contextmanager
def tracing() -> Iterator[Trace]:
    """Traces everything that this thread calls within the block."""
    trace = Trace()
    sys.setprofile(trace)
    try:
        yield trace
    finally:
        sys.setprofile(None)


async def main(is_listed: bool) -> None:
    request = edge_pb2.SubmitJobRequest()
    request.sdxl.type, request.sdxl.prompt = 1, "a red fox"
    with tempfile.TemporaryDirectory() as folder:
        config = EdgeConfig(
            listen="127.0.0.1:0", http_listen="127.0.0.1:0", data=Path(folder), token=TOKEN, drain_seconds=0,
            assets=(Path(folder) / "user-library").as_uri(),
        )  # fmt: skip
        server = Server(Edge(config), config)
        await server.start()
        planned = _trace_planning()
        async with grpc.aio.insecure_channel(server.address) as channel:
            submit = edge_pb2_grpc.JobServiceStub(channel).SubmitJob
            metadata = (("authorization", f"Bearer {TOKEN}"),)
            await submit(request, metadata=metadata)
            planned.clear()
            request.sdxl.prompt = "a grey wolf"  # what was found in a text is remembered for a while
            with tracing() as whole:
                await submit(request, metadata=metadata)
        await server.stop()
    _print("SubmitJob", whole.files, len(whole.entered) - 1, is_listed)
    _print("planning", planned[0].files, len(planned[0].entered) - 1, is_listed)


def _trace_planning() -> list[Trace]:
    """Traces Planner.job from now on, besides what else is traced."""
    found: list[Trace] = []
    plan = Planner.job

    async def traced(*arguments: Any, **named: Any) -> Any:
        outer, trace = sys.getprofile(), Trace()

        def both(frame: FrameType, event: str, argument: Any) -> None:
            trace(frame, event, argument)
            if outer:
                outer(frame, event, argument)

        sys.setprofile(both)
        try:
            return await plan(*arguments, **named)
        finally:
            sys.setprofile(outer)
            found.append(trace)

    Planner.job = traced  # type: ignore[method-assign]
    return found


def _print(name: str, files: list[str], moves: int, is_listed: bool) -> None:
    print(f"{name:12}{len(files):4} files entered, {moves} moves between files")
    if is_listed:
        print(*(f"    {file}" for file in files), sep=os.linesep)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the files")
    asyncio.run(main(parser.parse_args().list))
