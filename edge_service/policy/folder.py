"""Where the files of policy lie: those that Atelier brings, and a folder of the operator's over them.

A file of the folder replaces the built-in file of its name as a whole; what the folder lacks stays built in. So a
folder need only hold what differs, and a new version of Atelier may bring files that older folders do not know.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from edge_service.policy.mistakes import Mistake

BUILT_IN = Path(__file__).parent.parent / "policies"
BUILT_IN_WORD = "built-in"
ENDING = ".yaml"
MAX_BYTES = 2**20
VERSION_LENGTH = 12


@dataclass(frozen=True)
class File:
    """One file of policy."""

    name: str
    path: str
    """Where it lies, for messages."""
    content: bytes


@dataclass(frozen=True)
class Gathered:
    """The files that count together, by policy, and what was wrong with reading them."""

    files: dict[str, File]
    mistakes: tuple[Mistake, ...] = ()

    @cached_property
    def version(self) -> str:
        """A hash of the names and bytes of all files; where they lie does not matter."""
        digest = sha256()
        for name, file in sorted(self.files.items()):
            digest.update(f"{name}\0{len(file.content)}\0".encode() + file.content)
        return digest.hexdigest()[:VERSION_LENGTH]


def gather(folder: str = "") -> Gathered:
    """Reads the built-in files and those of `folder` over them."""
    files, mistakes = {file.name: file for file in _read(BUILT_IN)}, list[Mistake]()
    try:
        for file in _read(Path(folder)) if folder and folder != BUILT_IN_WORD else ():
            files[file.name] = file
            if len(file.content) > MAX_BYTES:
                mistakes.append(Mistake(file.path, 0, 0, "", f"must have at most {MAX_BYTES} bytes"))
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        mistakes.append(Mistake(str(error.filename or folder), 0, 0, "", reason))
    return Gathered(files, tuple(mistakes))


def _read(folder: Path) -> Iterator[File]:
    # Hidden names are not for us: Kubernetes keeps the files of a ConfigMap under one and swaps links to them.
    for path in sorted(folder.iterdir()):
        if path.suffix in (ENDING, ".yml") and not path.name.startswith(".") and path.is_file():
            with path.open("rb") as file:
                # A file with another ending would be ignored in silence; under its full name it is refused as unknown.
                name = path.stem if path.suffix == ENDING else path.name
                yield File(name, str(path), file.read(MAX_BYTES + 1))
