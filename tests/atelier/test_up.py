"""`atelier up` with the real services, the small models, the real database and the real proxy."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

START_SECONDS, CRASH_SECONDS, STOP_SECONDS = 120.0, 60.0, 30.0


class Up:
    """A running `atelier up`, and what it says."""

    def __init__(self, repository: Path, data: Path, *options: str) -> None:
        self.repository, self.data = repository, data
        self.environment = {**os.environ, "ATELIER_DATA": str(data)}
        for name in ("ATELIER_EDGE", "ATELIER_TOKEN"):
            self.environment.pop(name, None)
        command = [sys.executable, "-m", "atelier", "up", "--json", *options]
        self.process = subprocess.Popen(
            command, cwd=repository, env=self.environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def hears(self, seconds: float, **facts: str) -> dict[str, Any]:
        """The next line that has these facts; `ready=""` stands for any line with that name."""
        deadline, seen = time.monotonic() + seconds, []
        while True:
            try:
                line = self.lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"nothing with {facts} in {seen[-20:]}") from None
            seen.append(line)
            if all(value in str(line.get(name, "")) and name in line for name, value in facts.items()):
                return line

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command against this stack."""
        command = [sys.executable, "-m", "atelier", *words]
        return subprocess.run(
            command, cwd=self.repository, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def image(self, out: Path) -> Path:
        """Makes a small image."""
        options = ["--type", "sdxl_image_fast", "--steps", "10", "--resolution", "128x64", "--out", str(out), "--json"]
        done = self.run("image", "a red fox", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return Path(json.loads(done.stdout.splitlines()[-1])["saved"])

    def worker(self, name: str) -> int:
        """The process id of a service."""
        [found] = [process for process in processes_of(self.data) if f"{name}_service" in command_line(process)]
        return found

    def stop(self, number: signal.Signals) -> int:
        """Sends a signal to the whole group, as a terminal does, and returns the exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        code = self.process.wait(STOP_SECONDS)
        self._reader.join()
        if self.process.stdout:
            self.process.stdout.close()
        return code


def command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def processes_of(data: Path) -> list[int]:
    """Every process that has to do with this data folder, by its environment or its command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            known = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(data).encode() in known and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def are_gone(data: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while processes_of(data) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes_of(data)


@pytest.fixture
def up(repository: Path, tmp_path: Path) -> Iterator[Up]:
    up = Up(repository, tmp_path)
    yield up
    up.stop(signal.SIGTERM)


def test_a_stack_is_opened_used_mended_and_closed(up: Up, tmp_path: Path, repository: Path) -> None:
    addresses = up.hears(START_SECONDS, ready="")["ready"]
    assert json.loads((tmp_path / "addresses.json").read_text()) == addresses
    assert set(addresses) == {"edge", "sdxl", "wan", "chat", "http", "grpc_web"}

    # One command makes an image through edge and worker.
    with Image.open(up.image(tmp_path / "out")) as image:
        assert image.size == (128, 64)
    answer = up.run("chat", "Say yes.", "--temperature", "0", "--max-tokens", "100", "--json")
    assert json.loads(answer.stdout.splitlines()[-1])["assets"][0]["content"]

    # A second stack on the same folder is refused and leaves the first alone.
    second = up.run("up")
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"already running on {tmp_path} (edge: {addresses['edge']})" in second.stderr
    assert (tmp_path / "addresses.json").exists()

    # A worker that is killed comes back where the edge looks for it, and takes work again.
    first = up.worker("sdxl")
    os.kill(first, signal.SIGKILL)
    assert "SIGKILL" in up.hears(CRASH_SECONDS, process="sdxl", line="ended with")["line"]
    assert addresses["sdxl"] in up.hears(CRASH_SECONDS, process="sdxl", line=": ready")["line"]
    up.hears(CRASH_SECONDS, process="edge", line="worker connected")
    assert up.worker("sdxl") != first
    assert up.image(tmp_path / "out").exists()

    # So does the edge, with what it knew.
    os.kill(up.worker("edge"), signal.SIGKILL)
    assert addresses["edge"] in up.hears(CRASH_SECONDS, process="edge", line=": ready")["line"]
    jobs = [json.loads(line) for line in up.run("jobs", "--json").stdout.splitlines()]
    assert [(job["type"], job["status"]) for job in jobs] == [
        ("sdxl_image_fast", "completed"),
        ("chat_turn", "completed"),
        ("sdxl_image_fast", "completed"),
    ]

    # One Ctrl-C, and nothing is left: not even the database, which the killed edge could not stop.
    assert up.stop(signal.SIGINT) == 0
    assert are_gone(tmp_path, 2)
    assert not (tmp_path / "addresses.json").exists()


@pytest.mark.slow
def test_a_stack_that_was_stopped_twice_opens_where_it_was_and_ends_with_its_launcher(up: Up, tmp_path: Path) -> None:
    # As `make` does with a SIGTERM that its whole group has had.
    first = up.hears(START_SECONDS, ready="")["ready"]
    for _ in range(2):
        os.killpg(up.process.pid, signal.SIGTERM)
        time.sleep(0.2)
    assert up.process.wait(STOP_SECONDS) == 0
    assert are_gone(tmp_path, 2)

    # Opened anew, the stack is where clients that wait and URLs look for it. Nothing of it outlives a launcher that is
    # killed.
    again = Up(up.repository, tmp_path)
    try:
        found = again.hears(START_SECONDS, ready="")["ready"]
        assert [found[name] for name in ("edge", "http", "grpc_web")] == [
            first[name] for name in ("edge", "http", "grpc_web")
        ]
        assert len(processes_of(tmp_path)) >= 6
        os.kill(again.process.pid, signal.SIGKILL)
        assert are_gone(tmp_path, STOP_SECONDS)
    finally:
        again.stop(signal.SIGTERM)


def test_a_model_that_cannot_be_loaded_is_one_line_and_ends_the_start(repository: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    up = Up(repository, tmp_path, "--sdxl-model", str(nowhere))
    line = up.hears(START_SECONDS, error="")
    assert line["error"]["message"].startswith("sdxl did not start: ")
    assert str(nowhere) in line["error"]["message"]
    assert up.process.wait(STOP_SECONDS) == 1
    up.stop(signal.SIGTERM)
    assert are_gone(tmp_path, 2)
