"""A child process is born healthy, however busy gRPC is in the parent."""

import subprocess
import sys
from pathlib import Path

# In a process of its own, because gRPC reads what `shared` sets when it is first imported.
BIRTHS = """
import asyncio, os, subprocess
import shared
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

def dead(births):
    # A preexec_fn makes Python fork, as imageio-ffmpeg does for every encoder.
    ends = [subprocess.run(["true"], preexec_fn=os.setpgrp, capture_output=True) for _ in range(births)]
    return [end for end in ends if end.returncode or end.stderr]

async def call_for_ever(port):
    while True:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())

async def main():
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    calling = asyncio.create_task(call_for_ever(port))
    print(len(await asyncio.to_thread(dead, 200)))
    calling.cancel()
    await asyncio.wait([calling])
    await server.stop(None)

asyncio.run(main())
"""


def test_no_child_dies_at_birth_while_calls_are_in_flight(repository: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", BIRTHS], cwd=repository, capture_output=True, text=True, check=False)
    # What it writes to stderr is only shown: gRPC logs there whatever it finds remarkable.
    assert (ended.stdout.strip(), ended.returncode) == ("0", 0), ended.stderr
