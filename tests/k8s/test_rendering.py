"""Every overlay renders, is valid for the oldest and the newest Kubernetes we name, and refers to nothing missing."""

import os
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from atelier.small_models.cache import FOLDERS
from edge_service.fleet.discovery import parse
from tests.kit.manifests import (
    K8S,
    OVERLAYS,
    documents,
    examples,
    of_kind,
    overlay,
    pod_spec,
    referenced,
    rendered,
    workloads,
)

KUBERNETES = ["1.32", "1.37"]
every_overlay = pytest.mark.parametrize("name", OVERLAYS)


def test_there_are_overlays_to_test() -> None:
    assert OVERLAYS == ["local", "production"]


@every_overlay
@pytest.mark.parametrize("version", KUBERNETES)
def test_an_overlay_is_strictly_valid(name: str, version: str) -> None:
    for resource in overlay(name):
        assert kubernetes_validate.validate(resource, version, strict=True) == version


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_examples_are_strictly_valid(version: str) -> None:
    for resource in examples():
        assert kubernetes_validate.validate(resource, version, strict=True) == version


def test_the_readme_names_the_oldest_kubernetes_tested() -> None:
    assert f"Kubernetes {KUBERNETES[0]} or newer" in (K8S / "README.md").read_text()


@every_overlay
def test_an_overlay_has_every_service(name: str) -> None:
    found = workloads(overlay(name))
    assert set(found) >= {"edge", "sdxl", "wan", "chat", "envoy"}
    assert ("postgres" in found) == (name == "local")


@every_overlay
def test_everything_lies_in_the_namespace_that_admits_restricted_pods_only(name: str) -> None:
    [namespace] = of_kind(overlay(name), "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    inside = [resource for resource in overlay(name) if resource["kind"] != "Namespace"]
    assert {resource["metadata"]["namespace"] for resource in inside} == {namespace["metadata"]["name"]}


@every_overlay
def test_no_secret_is_in_an_overlay_and_every_key_referred_to_is_in_the_example(name: str) -> None:
    assert of_kind(overlay(name), "Secret") == {}
    example = {secret["metadata"]["name"]: secret["stringData"] for secret in documents(K8S / "examples/secrets.yaml")}
    keys = [(ref["name"], ref["key"]) for ref in referenced(overlay(name), "secretKeyRef")]
    assert keys
    assert [key for secret, key in keys if key not in example[secret]] == []
    assert {ref["name"] for ref in referenced(overlay(name), "secretRef")} <= set(example)


def test_the_example_of_secrets_holds_no_secret() -> None:
    for secret in documents(K8S / "examples/secrets.yaml"):
        assert all("CHANGE-ME" in value for value in secret["stringData"].values())


@every_overlay
def test_every_config_map_and_claim_referred_to_exists(name: str) -> None:
    maps, claims = of_kind(overlay(name), "ConfigMap"), of_kind(overlay(name), "PersistentVolumeClaim")
    wanted = {ref["name"] for ref in referenced(overlay(name), "configMapRef")}
    wanted |= {volume["name"] for volume in referenced(overlay(name), "configMap")}
    assert wanted == set(maps)
    assert {ref["claimName"] for ref in referenced(overlay(name), "persistentVolumeClaim")} == set(claims)


@every_overlay
def test_every_service_finds_the_port_and_the_pods_it_names(name: str) -> None:
    for service in of_kind(overlay(name), "Service").values():
        template = workloads(overlay(name))[service["metadata"]["name"]]["spec"]["template"]
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == ports


@every_overlay
def test_the_edge_finds_every_pod_of_every_worker_by_the_name_of_its_service(name: str) -> None:
    [config] = [found for key, found in of_kind(overlay(name), "ConfigMap").items() if key.startswith("edge-config")]
    services, told = of_kind(overlay(name), "Service"), config["data"]["ATELIER_WORKERS"]
    addresses, names = parse(told.split(","))
    assert (addresses, {found.host for found in names}) == ([], set(FOLDERS))
    for found in names:
        assert workloads(overlay(name))[found.host]["spec"]["serviceName"] == found.host
        spec = services[found.host]["spec"]
        assert spec["clusterIP"] == "None"  # headless: its name stands for the pods, not for one address before them
        assert spec["publishNotReadyAddresses"]  # the edge hears from the worker itself when it is ready
        assert spec["ports"][0]["port"] == found.port


def test_the_local_workers_load_the_models_that_are_made_for_them() -> None:
    for kind, folder in FOLDERS.items():
        pod = pod_spec(workloads(overlay("local"))[kind])
        [maker] = pod["initContainers"]
        assert maker["command"] == ["python", "-m", "atelier.small_models", kind]
        environment = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
        assert environment["ATELIER_MODEL"] == f"{maker['env'][0]['value']}/models/{folder}"


def test_production_puts_every_worker_on_a_gpu_of_its_own() -> None:
    for kind in FOLDERS:
        [container] = pod_spec(workloads(overlay("production"))[kind])["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    [config] = [data for data in _config_maps("production") if "ATELIER_DEVICE" in data]
    assert (config["ATELIER_DEVICE"], config["ATELIER_DTYPE"]) == ("cuda", "bfloat16")


def test_production_has_several_edges_and_proxies() -> None:
    found = workloads(overlay("production"))
    assert found["edge"]["spec"]["replicas"] >= 2
    assert found["envoy"]["spec"]["replicas"] >= 2


def test_only_the_allowed_origin_of_envoys_configuration_differs_between_overlays() -> None:
    configs = []
    for name in OVERLAYS:
        [data] = [data for data in _config_maps(name) if "envoy.yaml" in data]
        config = yaml.safe_load(data["envoy.yaml"])
        [origin] = list(referenced(config, "allow_origin_string_match"))
        origin[0]["safe_regex"]["regex"] = "the origin"
        configs.append(config)
    assert configs[0] == configs[1]


def test_policies_of_a_config_map_are_mounted_as_a_folder_and_may_be_missing(tmp_path: Path) -> None:
    parts = {name: os.path.relpath(K8S / name, tmp_path) for name in ("overlays/production", "components/policies")}
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [{parts['overlays/production']}]\ncomponents: [{parts['components/policies']}]\n"
    )
    found = rendered(str(tmp_path))
    pod = pod_spec(workloads(found)["edge"])
    assert {"name": "policies", "configMap": {"name": "policies", "optional": True}} in pod["volumes"]
    [mount] = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "policies"]
    assert "subPath" not in mount  # Kubernetes never changes such a file
    maps = {name: each["data"] for name, each in of_kind(found, "ConfigMap").items()}
    [config] = [maps[ref["name"]] for ref in referenced(pod, "configMapRef") if "ATELIER_WORKERS" in maps[ref["name"]]]
    assert config["ATELIER_POLICIES"] == mount["mountPath"]


def test_images_carry_the_version_of_the_package(repository: Path) -> None:
    version = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"]
    every = [image for name in OVERLAYS for image in referenced(overlay(name), "image")]
    ours = [image for image in [*every, *referenced(examples(), "image")] if "atelier/" in image]
    assert {image.rpartition(":")[2] for image in ours} == {version}


def _config_maps(name: str) -> list[dict[str, str]]:
    return [resource["data"] for resource in of_kind(overlay(name), "ConfigMap").values()]
