"""Log lines that machines and people can read."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from shared import telemetry


@pytest.fixture
def root() -> Iterator[None]:
    """Puts the root logger back as it was."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.mark.usefixtures("root")
def test_a_json_line_holds_what_was_added(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.start_logging("info", "json")
    logging.getLogger("sample").info("job ended", extra={"job_id": "x_1", "seconds": 1.5})
    [line] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "logger": "sample", "message": "job ended", "job_id": "x_1", "seconds": 1.5}


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("style", ["json", "text"])
def test_an_exception_keeps_its_traceback(capsys: pytest.CaptureFixture[str], style: str) -> None:
    telemetry.start_logging("info", style)
    try:
        sys.intern(1)  # type: ignore[arg-type]
    except TypeError:
        logging.getLogger("sample").exception("failed")
    assert "TypeError: " in capsys.readouterr().err


@pytest.mark.usefixtures("root")
def test_a_text_line_reads_like_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.start_logging("warning", "text")
    logging.getLogger("sample").info("unseen")
    logging.getLogger("sample").warning("job failed", extra={"job_id": "x_1"})
    assert capsys.readouterr().err.partition(" ")[2] == "warning sample: job failed job_id=x_1\n"
