"""The Dockerfile makes what the manifests run. No image is built here; every claim is read from the text."""

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.kit.manifests import containers, overlay, pod_spec, workloads

SERVICES = ["edge", "sdxl", "wan", "chat"]


@dataclass
class Stage:
    """One target: the stage it builds on and its instructions."""

    parent: str
    lines: list[tuple[str, str]] = field(default_factory=list)

    def arguments(self, instruction: str) -> list[str]:
        return [argument for word, argument in self.lines if word == instruction]


@pytest.fixture
def stages(repository: Path) -> dict[str, Stage]:
    found: dict[str, Stage] = {}
    for line in (repository / "Dockerfile").read_text().splitlines():
        if start := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            parent, name = start.groups()
            found[name] = Stage(parent)
        elif line and not line.startswith("#"):
            word, _, argument = line.partition(" ")
            found[name].lines.append((word, argument))
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_a_target_runs_what_its_manifest_runs(stages: dict[str, Stage], service: str) -> None:
    [container] = pod_spec(workloads(overlay("production"))[service])["containers"]
    assert [json.loads(command) for command in stages[service].arguments("CMD")] == [container["command"]]
    assert container["image"].partition(":")[0].endswith(f"atelier/{service}")


@pytest.mark.parametrize("service", SERVICES)
def test_a_target_opens_the_ports_of_its_manifest(stages: dict[str, Stage], service: str) -> None:
    [container] = pod_spec(workloads(overlay("production"))[service])["containers"]
    [ports] = stages[service].arguments("EXPOSE")
    assert [int(port) for port in ports.split()] == [port["containerPort"] for port in container["ports"]]


@pytest.mark.parametrize("service", SERVICES)
def test_a_target_runs_as_the_user_of_its_manifest(stages: dict[str, Stage], service: str) -> None:
    user = pod_spec(workloads(overlay("production"))[service])["securityContext"]["runAsUser"]
    stage = stages[service]
    while not stage.arguments("USER"):
        stage = stages[stage.parent]
    assert stage.arguments("USER") == [str(user)]


def test_there_is_a_target_for_every_image_that_is_ours(stages: dict[str, Stage]) -> None:
    pods = [pod_spec(workload) for workload in workloads(overlay("local")).values()]
    images = [container["image"] for pod in pods for container in containers(pod)]
    ours = {image.removeprefix("atelier/").partition(":")[0] for image in images if image.startswith("atelier/")}
    assert ours == set(SERVICES)
    assert ours <= set(stages)


def sources(stages: dict[str, Stage], builder: str) -> list[str]:
    """What a builder copies out of the repository."""
    lines = stages[builder].arguments("COPY") + stages[stages[builder].parent].arguments("COPY")
    return [source for line in lines for source in line.split()[:-1]]


def builder_of(stages: dict[str, Stage], service: str) -> str:
    [copied] = stages[service].arguments("COPY")
    return copied.split()[0].removeprefix("--from=")


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_its_service_and_what_that_needs(stages: dict[str, Stage], service: str) -> None:
    builder = builder_of(stages, service)
    assert {f"{service}_service", "shared", "atelier"} <= set(sources(stages, builder))
    installs = " ".join(stages[builder].arguments("RUN"))
    assert ("'.[edge]'" in installs) == (service == "edge")
    assert ("'.[workers]'" in installs) == (service != "edge")


def test_every_package_is_copied_and_nothing_copied_is_missing_or_ignored(
    stages: dict[str, Stage], repository: Path
) -> None:
    copied = [source for service in SERVICES for source in sources(stages, builder_of(stages, service))]
    packages = {path.parent.name for path in repository.glob("*/__init__.py")}
    assert packages - {"tests", "benchmarks", "training"} <= set(copied)
    kept = {line[1:] for line in (repository / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == set(copied)
    assert [source for source in copied if not (repository / source).exists()] == []


def test_the_link_to_envoys_configuration_leads_to_something_copied(stages: dict[str, Stage], repository: Path) -> None:
    target = (repository / "atelier/envoy.yaml").resolve().relative_to(repository.resolve())
    for service in SERVICES:
        assert any(fnmatch(str(target), f"{source}/*") for source in sources(stages, builder_of(stages, service)))
