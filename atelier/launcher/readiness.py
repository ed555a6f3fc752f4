"""Waiting until what was started can be used."""

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from atelier.client import AsyncClient
from atelier.errors import AtelierError, EdgeUnreachable

POLL_SECONDS = 0.1


async def serving(address: str) -> None:
    """Returns when the server at this address reports SERVING."""
    async with grpc.aio.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while True:
            try:
                answer = await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.aio.AioRpcError:
                pass  # it is still starting
            await asyncio.sleep(POLL_SECONDS)


async def accepting(client: AsyncClient, workers: int) -> None:
    """Returns when the edge is connected to this many workers that take work."""
    while True:
        try:
            if sum(worker.status.accepting for worker in await client.workers()) >= workers:
                return
        except (AtelierError, EdgeUnreachable):
            pass  # it is still starting
        await asyncio.sleep(POLL_SECONDS)
