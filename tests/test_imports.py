"""Imports point one way: service -> shared -> atelier.contracts -> atelier.pb; only engines import torch."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS = ("atelier.contracts", "atelier.pb")
OURS = ("edge_service", "sdxl_service", "wan_service", "chat_service", "shared", "atelier")
# What each package may import of ours besides itself; of `atelier` a service takes what clients and services share.
DOORS = {package: set() if package == "atelier" else {"shared", *CONTRACTS} for package in OURS}
FRAMEWORKS = {"torch", "diffusers", "transformers", "accelerate", "compel"}
FRAMEWORK_ROOMS = {
    ("sdxl_service", "engine"),
    ("wan_service", "engine"),
    ("chat_service", "engine"),
    ("shared", "torch"),
    ("atelier", "small_models"),
}
STUB_ROOMS = {"servicer.py", "worker.py", "dispatcher.py", "service.py"}

# The rooms of the edge, from the ground up. A room imports rooms of the rows above it here, and itself; nothing else.
EDGE_LAYERS = (
    {"adapters", "policy"},
    {"domain"},
    {"accounts", "fleet"},
    {"auth", "moderation", "queue", "references"},
    {"planning"},
    {"use_cases", "policies"},
    {"doors"},
    {"config"},  # read by the composition root alone, which hands each room the values it needs
    {"bootstrap"},
    {"__main__"},
)

FILES = [path.relative_to(ROOT) for package in OURS for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules a file imports, anywhere in it."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def is_stub(path: Path) -> bool:
    return path.parts[:2] == ("atelier", "pb")


def may_import_frameworks(path: Path) -> bool:
    return path.parts[:2] in FRAMEWORK_ROOMS


def may_touch_stubs(path: Path) -> bool:
    rooms = {"doors", "kinds"} & {*path.parts}
    return is_stub(path) or path.parts[0] == "atelier" or bool(rooms) or path.name in STUB_ROOMS


def test_the_walk_sees_files_and_their_imports() -> None:
    assert Path("atelier/pb/sdxl/v1/sdxl_pb2.py") in FILES
    assert "shared.interceptors.Interceptor" in set(imports(Path("shared/server.py")))


def is_inside(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_imports_point_one_way() -> None:
    wrong = [
        (path, name)
        for path in FILES
        for name in imports(path)
        if name.partition(".")[0] in OURS and not is_inside(name, {path.parts[0], *DOORS[path.parts[0]]})
    ]
    assert wrong == []


def test_contracts_import_only_contracts_and_stubs() -> None:
    ours = {name for path in FILES if path.parts[:2] == ("atelier", "contracts") for name in imports(path)}
    assert [name for name in ours if name.partition(".")[0] in OURS and not is_inside(name, CONTRACTS)] == []


def test_the_client_imports_what_a_plain_install_has() -> None:
    """Installed without an extra there are four requirements of pyproject.toml, and the standard library."""
    extras = {"cli", "doctor", "launcher", "small_models", "envoy.py", "__main__.py"}
    installed = {"atelier", "google", "grpc", "httpcore2", *sys.stdlib_module_names}
    client = [path for path in FILES if path.parts[0] == "atelier" and path.parts[1] not in extras]
    assert [(path, root) for path in client for root in roots(path) - installed] == []


def edge_room(name: str) -> str:
    """The folder of the edge that a module is in: `edge_service.queue.store.Store` -> `queue`."""
    return name.split(".")[1]


def edge_imports() -> Iterator[tuple[str, str, Path]]:
    """Every import from one room of the edge into another: importing room, imported room, importing file."""
    for path in FILES:
        if path.parts[0] == "edge_service" and path.parts[1] != "__init__.py":
            room = path.parts[1].removesuffix(".py")
            others = {edge_room(name) for name in imports(path) if name.startswith("edge_service.")} - {room}
            yield from ((room, other, path) for other in others)


def test_every_room_of_the_edge_has_its_layer() -> None:
    rooms = {path.parts[1].removesuffix(".py") for path in FILES if path.parts[0] == "edge_service"} - {"__init__"}
    assert sorted(rooms) == sorted(room for layer in EDGE_LAYERS for room in layer)


def test_imports_inside_the_edge_go_down_and_never_up_or_sideways() -> None:
    rank = {room: number for number, layer in enumerate(EDGE_LAYERS) for room in layer}
    assert [found for found in edge_imports() if rank[found[0]] <= rank[found[1]]] == []


def test_only_kinds_test_which_kind_of_work_a_message_is() -> None:
    tested = ["SdxlJob", "WanJob", "ChatRequest", "SdxlCallback", "WanCallback", "ChatCallback"]
    elsewhere = [path for path in FILES if path.parts[0] == "edge_service" and path.parts[1:3] != ("domain", "kinds")]
    for path in elsewhere:
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("isinstance", "type")
            ):
                said = ast.unparse(node)
                assert not any(name in said for name in tested), f"{path}:{node.lineno} {said}"


def test_use_cases_know_neither_grpc_nor_http() -> None:
    transports = {"grpc", "starlette", "uvicorn"}
    assert [path for path in FILES if "use_cases" in path.parts and roots(path) & transports] == []


def test_nothing_imports_tests_or_benchmarks() -> None:
    assert [path for path in FILES if roots(path) & {"tests", "benchmarks"}] == []


def test_stubs_import_only_stubs_of_ours() -> None:
    ours = {name for path in FILES if is_stub(path) for name in imports(path) if name.partition(".")[0] in OURS}
    assert [name for name in ours if not name.startswith("atelier.pb.")] == []


def test_only_engines_import_torch() -> None:
    assert [path for path in FILES if roots(path) & FRAMEWORKS and not may_import_frameworks(path)] == []


def test_only_servicers_and_their_callers_touch_service_stubs() -> None:
    touching = [path for path in FILES if any("_pb2_grpc" in name and "atelier.pb" in name for name in imports(path))]
    assert [path for path in touching if not may_touch_stubs(path)] == []


@pytest.mark.parametrize("module", ["sdxl_service.servicer", "wan_service.servicer", "chat_service.servicer"])
def test_importing_a_servicer_loads_no_framework(module: str) -> None:
    code = f"import sys, {module}; print(sorted({FRAMEWORKS!r} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def extra(name: str) -> set[str]:
    """Distributions that `pip install 'atelier[name]'` asks for, those of the client and of extras within it too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted: set[str] = set()
    for requirement in [*project["dependencies"], *project["optional-dependencies"][name]]:
        distribution, brackets = re.match(r"([\w.-]+)(?:\[([\w,]+)\])?", requirement).groups()
        if distribution == "atelier":
            wanted |= {found for inner in brackets.split(",") for found in extra(inner)}
        else:
            wanted |= {distribution, *(f"{distribution}[{inner}]" for inner in (brackets or "").split(",") if inner)}
    return wanted


# What comes with a requirement by its nature, under another name.
CARRIED = {
    "pydantic_core": "pydantic",
    "tokenizers": "transformers",
    "psycopg_pool": "psycopg[pool]",
    "cryptography": "pyjwt[crypto]",
}


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("edge", ("edge_service", "shared")),
        ("workers", ("sdxl_service", "wan_service", "chat_service", "shared")),
        ("cli", ("atelier/cli", "atelier/doctor", "atelier/launcher")),
    ],
)
def test_an_extra_brings_what_its_packages_import(name: str, packages: tuple[str, ...]) -> None:
    known, wanted = packages_distributions(), extra(name)
    local = {"torch", "imageio_ffmpeg", "envoy", "tokenizers"} if name != "workers" else set()
    missing = {
        (str(path), root)
        for path in FILES
        if str(path).startswith(packages) and not (name == "edge" and path.parts[:2] == ("shared", "torch"))
        for root in roots(path) - {*OURS, *sys.stdlib_module_names} - local
        if not wanted & ({CARRIED.get(root, root)} | {found.lower().replace("_", "-") for found in known.get(root, ())})
    }
    assert missing == set()
