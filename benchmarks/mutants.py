"""Do the tests notice? Breaks one rule of durable jobs at a time, in a copy, and runs the tests that must fail for it.

    python -m benchmarks.mutants [NAME ...]

The list is mutants.yaml. Exit code 0: every mutant was caught. 1: one survived. 2: the list no longer fits the code, or
its tests fail without any mutant.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).parent.parent
TESTS = "tests"
# A mutant under which a test never ends is noticed too, if not by the test.
MAX_SECONDS = 90
PYTEST_PASSED, PYTEST_FAILED = 0, 1


class Mutant(BaseModel):
    """One change: `text` in `file` becomes another, and `tests` must fail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    file: str
    text: str
    becomes: str
    tests: tuple[str, ...]

    def applied(self, folder: Path) -> str:
        """The whole file with the change. Raises ValueError if the text does not stand in it exactly once."""
        whole = (folder / self.file).read_text()
        if (count := whole.count(self.text)) != 1:
            raise ValueError(f"{self.name}: its text stands {count} times in {self.file}")
        return whole.replace(self.text, self.becomes)


def mutants() -> list[Mutant]:
    """The list."""
    table = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    return [Mutant(**entry) for entry in table["mutants"]]


def main(names: Sequence[str]) -> int:
    chosen = [mutant for mutant in mutants() if not names or any(name in mutant.name for name in names)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        folder = Path(scratch)
        _copy(folder)
        try:
            for mutant in chosen:
                mutant.applied(folder)
        except ValueError as error:
            print(error)
            return 2
        if _outcome(folder, sorted({test for mutant in chosen for test in mutant.tests})) != "survived":
            print("the tests fail without any mutant")
            return 2
        outcomes = [_tried(folder, mutant) for mutant in chosen]
    survivors = sum(outcome not in ("caught", "hangs") for outcome in outcomes)
    print(f"{len(outcomes) - survivors} of {len(outcomes)} mutants caught")
    return 1 if survivors else 0


def _copy(folder: Path) -> None:
    """What git knows or would add, as it stands in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())


def _tried(folder: Path, mutant: Mutant) -> str:
    path, started = folder / mutant.file, time.monotonic()
    before, mutated = path.read_text(), mutant.applied(folder)
    path.write_text(mutated)
    try:
        outcome = _outcome(folder, mutant.tests)
    finally:
        path.write_text(before)
    print(f"{outcome:9} {mutant.name} ({time.monotonic() - started:.0f} s)", flush=True)
    return outcome


def _outcome(folder: Path, tests: Sequence[str]) -> str:
    """Whether a test failed ("caught"), all passed ("survived"), they did not end ("hangs") or not run ("error")."""
    # In one process: pytest-xdist that stops at the first failure ends as if it had been interrupted.
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [*command, *(f"{TESTS}/{test}" for test in tests)], cwd=folder, env=environment, stdout=said, stderr=said
        )
        try:
            code = child.wait(MAX_SECONDS * (10 if len(tests) > 5 else 1))
        except subprocess.TimeoutExpired:
            child.terminate()
            child.wait()
            return "hangs"
        if code not in (PYTEST_PASSED, PYTEST_FAILED):
            said.seek(0)
            print(said.read().decode()[-2000:])
        return {PYTEST_PASSED: "survived", PYTEST_FAILED: "caught"}.get(code, "error")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only mutants whose names contain one of these")
    sys.exit(main(parser.parse_args().names))
