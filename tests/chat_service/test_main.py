"""The worker as a process, with the real libraries: it starts, answers, drains, and says in one line why it cannot."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from atelier.pb.chat.v1 import chat_pb2, chat_pb2_grpc


def run(repository: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "chat_service", *arguments],
        cwd=repository,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def worker(repository: Path, tiny_weights: Path, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A running process and its address."""
    file = tmp_path / "address"
    told = {"MODEL": str(tiny_weights), "ADDRESS_FILE": str(file), "SLOTS": "2", "DRAIN_SECONDS": "120"}
    process = run(repository, **{f"ATELIER_{name}": value for name, value in told.items()})
    while not file.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    yield process, file.read_text()
    process.kill()
    process.communicate()


def wait_until_serving(channel: grpc.Channel) -> None:
    stub, check = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest()
    for _ in range(600):
        if stub.Check(check, wait_for_ready=True).status == health_pb2.HealthCheckResponse.SERVING:
            return
        time.sleep(0.1)
    pytest.fail("never SERVING")


def complete() -> chat_pb2.GenerateRequest:
    message = chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, content="Say hello.")
    chat = chat_pb2.ChatRequest(
        messages=[message], max_tokens=100, temperature=0.7, top_p=0.9, model=chat_pb2.CHAT_MODEL_QWEN_INSTRUCT
    )
    return chat_pb2.GenerateRequest(job_id="chat_turn_1734567890_abc123", user_id="user123", request=chat)


def test_it_starts_answers_and_drains(worker: tuple["subprocess.Popen[str]", str]) -> None:
    process, address = worker
    with grpc.insecure_channel(address) as channel:
        wait_until_serving(channel)
        running = chat_pb2_grpc.ChatServiceStub(channel).Generate(complete())
        assert next(running).HasField("progress")
        process.send_signal(signal.SIGTERM)
        assert list(running)[-1].callback.assets[0].metadata.tokens_generated == 100
    assert process.wait(30) == 0, "work that was running at SIGTERM was finished, but the process did not end"


def test_a_missing_model_ends_it_with_one_clear_line(repository: Path) -> None:
    process = run(repository, ATELIER_MODEL="/no/such/model", ATELIER_LOG_LEVEL="error")
    assert process.communicate(timeout=60)[1] == "/no/such/model: no such folder\n"
    assert process.returncode == 1


def test_help_teaches_the_variables(repository: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "chat_service", "--help"], cwd=repository, capture_output=True, text=True
    )
    assert told.returncode == 0
    assert "ATELIER_BASE_MODEL" in told.stdout
