"""What every pod must be: without privileges, bounded, probed, and given the time to end its work."""

from collections.abc import Iterator
from typing import Any

import pytest

from edge_service.bootstrap import Edge
from shared.server import HAND_BACK_SECONDS
from tests.kit.manifests import OVERLAYS, containers, examples, of_kind, overlay, pod_spec, referenced, workloads

Named = tuple[str, dict[str, Any]]


def every_pod() -> Iterator[Named]:
    for name in OVERLAYS:
        for workload, resource in workloads(overlay(name)).items():
            yield f"{name}/{workload}", pod_spec(resource)
    for workload, resource in workloads(tuple(examples())).items():
        yield f"examples/{workload}", pod_spec(resource)


def every_container() -> Iterator[Named]:
    for where, pod in every_pod():
        for container in containers(pod):
            yield f"{where}/{container['name']}", container


def services() -> Iterator[Named]:
    """The pods that stay, and their only container."""
    for where, pod in every_pod():
        if pod.get("restartPolicy") != "Never":
            yield where, pod


def named(found: Iterator[Named]) -> Any:
    pairs = list(found)
    return pytest.mark.parametrize("spec", [spec for _, spec in pairs], ids=[where for where, _ in pairs])


@named(every_pod())
def test_a_pod_has_no_privileges_and_no_token(spec: dict[str, Any]) -> None:
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
    assert list(referenced(spec, "hostPath")) == []


@named(services())
def test_a_service_runs_under_an_account_of_its_own(spec: dict[str, Any]) -> None:
    assert spec["serviceAccountName"] == spec["containers"][0]["name"]


def test_every_account_is_without_a_token() -> None:
    for name in OVERLAYS:
        accounts = of_kind(overlay(name), "ServiceAccount")
        assert {pod_spec(workload)["serviceAccountName"] for workload in workloads(overlay(name)).values()} == set(
            accounts
        )
        assert all(account["automountServiceAccountToken"] is False for account in accounts.values())


@named(every_container())
def test_a_container_can_change_nothing_but_its_volumes(spec: dict[str, Any]) -> None:
    security = spec["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert "/tmp" in {mount["mountPath"] for mount in spec["volumeMounts"]}


@named(every_container())
def test_a_container_says_what_it_needs_and_never_gets_more(spec: dict[str, Any]) -> None:
    resources = spec["resources"]
    assert set(resources["requests"]) >= {"cpu", "memory"}
    assert set(resources["limits"]) >= {"cpu", "memory"}


def test_a_worker_reads_its_model_and_cannot_change_it() -> None:
    for name in OVERLAYS:
        for kind in ("sdxl", "wan", "chat"):
            [container] = pod_spec(workloads(overlay(name))[kind])["containers"]
            [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "models"]
            assert mount["readOnly"] is True


@named(services())
def test_all_three_probes_ask_the_same_question_at_the_containers_own_port(spec: dict[str, Any]) -> None:
    [container] = spec["containers"]
    questions = [_question(container[probe]) for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert questions[0] == questions[1] == questions[2]
    names = {port["name"]: port["containerPort"] for port in container["ports"]}
    for action in (questions[0].get("grpc"), questions[0].get("httpGet")):
        assert action is None or names.get(action["port"], action["port"]) in names.values()


@named(services())
def test_the_grace_period_is_longer_than_the_drain_and_what_is_handed_back_after_it(spec: dict[str, Any]) -> None:
    [container] = spec["containers"]
    waits = [int(data["ATELIER_DRAIN_SECONDS"]) + HAND_BACK_SECONDS for data in _environment_of(container)]
    before = sum(referenced(container.get("lifecycle", {}), "seconds"))
    assert bool(waits) == ("atelier/" in container["image"])
    assert spec["terminationGracePeriodSeconds"] > before + sum(waits)


def test_the_edge_is_never_drained_away_all_at_once() -> None:
    for name in OVERLAYS:
        budget = of_kind(overlay(name), "PodDisruptionBudget")["edge"]["spec"]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"] == workloads(overlay(name))["edge"]["spec"]["selector"]["matchLabels"]


def test_only_the_edge_may_talk_to_workers_and_to_postgres() -> None:
    policies = of_kind(overlay("local"), "NetworkPolicy")
    for workload, policy in {"sdxl": "workers", "wan": "workers", "chat": "workers", "postgres": "postgres"}.items():
        spec, pod = policies[policy]["spec"], workloads(overlay("local"))[workload]["spec"]["template"]
        assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert spec["policyTypes"] == ["Ingress"]
        [rule] = spec["ingress"]
        assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "edge"}}}]
    assert "workers" in of_kind(overlay("production"), "NetworkPolicy")


def test_the_edge_is_probed_by_a_service_that_it_has() -> None:
    [container] = pod_spec(workloads(overlay("production"))["edge"])["containers"]
    assert container["readinessProbe"]["grpc"]["service"] in Edge.names


def _question(probe: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in probe.items() if key in ("grpc", "httpGet", "exec")}


def _environment_of(container: dict[str, Any]) -> list[dict[str, str]]:
    """The config maps of a container that say how long it drains."""
    names = {ref["configMapRef"]["name"] for ref in container.get("envFrom", []) if "configMapRef" in ref}
    maps = {key: value["data"] for name in OVERLAYS for key, value in of_kind(overlay(name), "ConfigMap").items()}
    return [maps[name] for name in names if "ATELIER_DRAIN_SECONDS" in maps[name]]
