"""Every service starts with exactly what its manifest says and passes the manifest's probes; together they make an
image. `local_pods.py` lists all that differs from a cluster.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psycopg
import pytest
import yaml

from atelier import envoy
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.edge.v1 import edge_pb2
from tests.kit.grpc_web import Page
from tests.kit.local_pods import TOKEN, Cluster, Running, running, unused_port
from tests.kit.manifests import OVERLAYS

EDGE_PORT, SDXL_PORT, ENVOY_PORT = 50051, 50061, 8080
JOB_SERVICE = "/atelier.edge.v1.JobService/"
JOB = {
    "sdxl": {
        "type": "sdxl_image_fast",
        "prompt": "a lighthouse",
        "config": {"num_images": 1, "steps": 10, "resolution": "256x256"},
    }
}

every_overlay = pytest.mark.parametrize("name", OVERLAYS)


@contextlib.asynccontextmanager
async def running_envoy(cluster: Cluster, edge_address: str) -> AsyncIterator[Running]:
    """Envoy with the configuration of the cluster's ConfigMap, but for two addresses."""
    [volume] = [volume for volume in cluster.pod("envoy")["volumes"] if volume["name"] == "config"]
    [(file, source)] = cluster.config(volume["configMap"]["name"]).items()
    listen = f"127.0.0.1:{unused_port()}"
    config = envoy.configuration(source, edge_address, listen)
    (cluster.volume("config") / file).write_text(yaml.safe_dump(config))
    async with running(cluster, "envoy", addresses={ENVOY_PORT: listen}) as process:
        yield process


async def test_postgres_starts_as_its_manifest_says(postgres: Running, clusters: dict[str, Cluster]) -> None:
    url = clusters["local"].secrets["atelier-database"]["url"]
    async with await psycopg.AsyncConnection.connect(url) as connection:
        [shown] = await (await connection.execute("SHOW max_connections")).fetchall()
    assert shown == ("200",)


@every_overlay
async def test_the_edge_starts_as_its_manifest_says(name: str, postgres: Running, clusters: dict[str, Cluster]) -> None:
    async with running(clusters[name], "edge") as edge:
        await edge.pass_probes()


@every_overlay
async def test_envoy_starts_as_its_manifest_says(name: str, clusters: dict[str, Cluster]) -> None:
    async with running_envoy(clusters[name], "127.0.0.1:1") as proxy:
        await proxy.pass_probes()
        address = await proxy.address(ENVOY_PORT)
        origins = ["http://localhost:5173", "https://studio.example.com", "https://studio-example.com"]
        answers = [
            await asyncio.to_thread(Page(address, origin).preflight, f"{JOB_SERVICE}GetJob") for origin in origins
        ]
    allowed = [answer.headers["access-control-allow-origin"] for answer in answers]
    assert allowed == ([origins[0], None, None] if name == "local" else [None, origins[1], None])


@pytest.mark.parametrize("worker", ["wan", "chat"])  # sdxl starts in the next test, and once is enough
async def test_a_worker_starts_as_its_manifest_says(worker: str, clusters: dict[str, Cluster]) -> None:
    async with running(clusters["local"], worker) as process:
        await process.pass_probes()


async def test_the_pods_together_make_an_image(postgres: Running, clusters: dict[str, Cluster]) -> None:
    cluster = clusters["local"]
    async with contextlib.AsyncExitStack() as pods:
        sdxl = await pods.enter_async_context(running(cluster, "sdxl"))
        await sdxl.pass_probes()
        cluster.pods[f"sdxl:{SDXL_PORT}"] = await sdxl.address(SDXL_PORT)
        edge = await pods.enter_async_context(running(cluster, "edge"))
        await edge.pass_probes()
        proxy = await pods.enter_async_context(running_envoy(cluster, await edge.address(EDGE_PORT)))
        await proxy.pass_probes()
        page = Page(await proxy.address(ENVOY_PORT), token=TOKEN)
        job = await asyncio.to_thread(made, page)
    assert job.sdxl_callback.worker_id == "sdxl-0"
    [asset] = job.sdxl_callback.assets
    assert (cluster.volume("assets") / "user-library" / asset.key).read_bytes().startswith(b"\x89PNG")
    assert asset.url.startswith("http://localhost:50080/user-library/")


def made(page: Page) -> edge_pb2.Job:
    """Submits a job as a page does and watches it to its end."""
    submitted = page.call(f"{JOB_SERVICE}SubmitJob", from_spec_dict(edge_pb2.SubmitJobRequest, JOB))
    [response] = submitted.messages(edge_pb2.SubmitJobResponse)
    watch = page.call(f"{JOB_SERVICE}WatchJob", edge_pb2.WatchJobRequest(job_id=response.job.id))
    events = list(watch.messages(edge_pb2.WatchJobResponse))
    return events[-1].event.ended
