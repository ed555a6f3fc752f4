"""What the stack consists of: which programs run, with which environment."""

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import atelier
from atelier.launcher.child import Port, Program
from atelier.launcher.ports import again

WORKERS = ("sdxl", "wan", "chat")
GRPC = Port("ATELIER_LISTEN", "ATELIER_ADDRESS_FILE")
HTTP = Port("ATELIER_HTTP_LISTEN", "ATELIER_HTTP_ADDRESS_FILE")
DRAIN_SECONDS = 10
# How services on several machines prove who they are; those of one machine have a token of their own.
ELSEWHERE = (
    "ATELIER_WORKER_TOKEN_FILE", "ATELIER_TLS_CERT", "ATELIER_TLS_KEY", "ATELIER_TLS_CA", "ATELIER_WORKER_TLS_CERT",
    "ATELIER_WORKER_TLS_KEY", "ATELIER_WORKER_TLS_CA", "ATELIER_WORKER_TLS_NAME",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is asked of the launcher. `models` maps a worker to a folder or hub id; small ones fill the gaps."""

    data: Path
    models: dict[str, str] = field(default_factory=dict)
    listen: str = "127.0.0.1:0"
    web_listen: str = "127.0.0.1:0"
    worker_token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """What the edge proves itself with to the workers: new at every start, and nowhere but in their environment."""


def worker(name: str, plan: Plan, model: str) -> Program:
    """The worker of one kind."""
    environment = {**_shared(plan), "ATELIER_MODEL": model, **_threads()}
    return Program(name, (sys.executable, "-m", f"{name}_service"), environment, {"grpc": GRPC})


def edge(plan: Plan, workers: list[str], last: Mapping[str, str] = MappingProxyType({})) -> Program:
    """The edge, told where the workers are. It gets the ports of `last`, what listened where, if they are free."""
    environment = {**_shared(plan), "ATELIER_DATA": str(plan.data), "ATELIER_WORKERS": ",".join(workers)}
    grpc = Port(GRPC.listen, GRPC.file, again(plan.listen, last.get("edge")))
    http = Port(HTTP.listen, HTTP.file, again(HTTP.address, last.get("http")))
    return Program("edge", (sys.executable, "-m", "edge_service"), environment, {"grpc": grpc, "http": http})


def policy_check() -> Program:
    """Says every mistake of the policies that the edge would read, and ends with a code if there is one."""
    return Program("policies", (sys.executable, "-m", "edge_service.policies", "check"), found_here())


def _shared(plan: Plan) -> dict[str, str]:
    return {
        "ATELIER_ASSETS": os.environ.get("ATELIER_ASSETS") or (plan.data / "user-library").as_uri(),
        "ATELIER_LOG_FORMAT": "text",
        "ATELIER_WORKER_TOKEN": plan.worker_token,
        **dict.fromkeys(ELSEWHERE, ""),
        "ATELIER_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "GRPC_VERBOSITY": "ERROR",  # the command line silences gRPC for itself, not for services
        **found_here(),
    }


def found_here() -> dict[str, str]:
    """The services lie beside `atelier`, wherever the command was started; a folder there that happens to have the
    name of one of our packages, such as `shared`, is not looked into."""
    root = str(Path(atelier.__file__).parent.parent)
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


def _threads() -> dict[str, str]:
    # Every worker may use every core: mostly one of them works while the others wait for jobs, and dividing the cores
    # would make that one slow. Where several work at once they must not wait by spinning, as OpenMP does by itself:
    # each then burns the cores that another needs (an image on 2 busy cores took 4 s without and 18 to 32 s with it).
    wanted = {"OMP_NUM_THREADS": str(os.cpu_count() or 1), "OMP_WAIT_POLICY": "PASSIVE"}
    return {name: os.environ.get(name) or value for name, value in wanted.items()}
