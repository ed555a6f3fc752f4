"""The proxy as one machine starts it."""

import asyncio
import stat
from pathlib import Path

import pytest
import yaml

from atelier import envoy

EDGE = "127.0.0.1:50051"


async def ended(command: list[str]) -> tuple[int, str]:
    """Exit code and output of a command that ends by itself."""
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, output = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short path, whatever the test is called."""
    return tmp_path_factory.mktemp("envoy")


async def test_a_free_port_is_taken_and_told(folder: Path) -> None:
    assert envoy.bound_address(folder) is None
    process = await asyncio.create_subprocess_exec(*envoy.command(EDGE, "127.0.0.1:0", folder))
    try:
        async with asyncio.timeout(20):
            while (address := envoy.bound_address(folder)) is None:
                await asyncio.sleep(0.02)
        host, _, port = address.rpartition(":")
        assert host == "127.0.0.1"
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        assert stat.S_IMODE((folder / envoy.ADMIN_SOCKET).stat().st_mode) == 0o600
    finally:
        process.terminate()
        await process.wait()
    assert envoy.bound_address(folder) is None


async def test_a_port_that_is_taken_ends_envoy_with_the_reason(folder: Path) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1")
    async with server:
        taken = "127.0.0.1:{1}".format(*server.sockets[0].getsockname())
        code, output = await ended(envoy.command(EDGE, taken, folder))
    assert code != 0
    assert f"cannot bind '{taken}'" in output


def test_only_addresses_differ_from_what_kubernetes_runs() -> None:
    source = envoy.SOURCE.read_text()
    ours = envoy.configuration(source, "10.0.0.1:1", "[::1]:2")
    assert yaml.safe_load(source) == envoy.configuration(yaml.safe_dump(ours), "edge:50051", "0.0.0.0:8080")
    listener, cluster = ours["static_resources"]["listeners"][0], ours["static_resources"]["clusters"][0]
    assert listener["address"]["socket_address"] == {"address": "::1", "port_value": 2}
    [edge] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert edge["endpoint"]["address"]["socket_address"] == {"address": "10.0.0.1", "port_value": 1}


def test_the_configuration_of_kubernetes_has_no_admin_interface() -> None:
    assert "admin" not in yaml.safe_load(envoy.SOURCE.read_text())


def test_a_folder_too_deep_for_a_socket_is_refused_by_name(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    with pytest.raises(ValueError, match="too long") as refused:
        envoy.command(EDGE, "127.0.0.1:0", deep)
    assert str(deep) in str(refused.value)
