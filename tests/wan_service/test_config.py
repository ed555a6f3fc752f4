"""What the video worker is told, and how it says what it can be told."""

import pytest

from shared.config import load
from wan_service.config import WanConfig


def test_help_tells_a_newcomer_what_this_is_and_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        load(WanConfig, "wan_service", ["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert exited.value.code == 0
    assert "The video worker: makes one video or still a job" in text
    assert "--model str What to load: a folder that diffusers saved" in text
    assert "ATELIER_CPU_OFFLOAD" in text


@pytest.mark.parametrize("option", ["--slots=0", "--slots=17", "--model=", "--worker-id=", "--worker-id=a/b"])
def test_what_this_worker_cannot_be_is_refused_by_name(capsys: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit):
        load(WanConfig, "wan_service", ["--model=x", option])
    assert capsys.readouterr().err.startswith(f"ATELIER_{option[2:].split('=')[0].replace('-', '_').upper()}: ")


def test_a_worker_has_a_name_from_the_start() -> None:
    assert load(WanConfig, "wan_service", ["--model=x"]).worker_id == "wan_worker_001"
