"""Configuration from environment and command line: every mistake at once, at start, by the variable's name."""

from pathlib import Path

import pytest
from pydantic import Field

from shared.config import DiffusionWorkerConfig, ServiceConfig, load
from tests.kit.certificates import Authority


class Config(DiffusionWorkerConfig):
    """The sample worker: makes samples."""

    model: str = Field(description="What to load.", min_length=1)
    shade: str = Field("dark", description="How dark samples are.")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default asset store is made where it is looked for."""
    monkeypatch.setenv("HOME", str(tmp_path))


def stop(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> list[str]:
    """The lines that a wrong configuration ends the process with."""
    with pytest.raises(SystemExit) as exited:
        load(Config, "sample_service", arguments)
    assert exited.value.code == 2
    return capsys.readouterr().err.splitlines()


def test_a_field_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_MODEL", "/models/sample")
    monkeypatch.setenv("ATELIER_SLOTS", "4")
    monkeypatch.setenv("ATELIER_COMPILE", "true")
    config = load(Config, "sample_service", [])
    assert (config.model, config.slots, config.compile, config.shade) == ("/models/sample", 4, True, "dark")


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_MODEL", "/models/sample")
    monkeypatch.setenv("ATELIER_COMPILE", "true")
    config = load(Config, "sample_service", ["--model", "other", "--no-compile"])
    assert (config.model, config.compile) == ("other", False)


def test_every_mistake_is_reported_at_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_LOG_LEVEL", "loud")
    monkeypatch.setenv("ATELIER_ASSETS", "gopher://host/bucket")
    monkeypatch.setenv("ATELIER_LISTEN", "127.0.0.1:65536")
    lines = stop(capsys, ["--slots", "0", "--device", "tpu"])
    names = [line.split(":")[0].removeprefix("ATELIER_") for line in lines]
    assert sorted(names) == ["ASSETS", "DEVICE", "LISTEN", "LOG_LEVEL", "MODEL", "SLOTS"]
    assert "ATELIER_SLOTS: Input should be greater than or equal to 1, got '0'" in lines
    assert "ATELIER_MODEL: Field required" in lines


@pytest.mark.parametrize("listen", ["", "localhost", "127.0.0.1:", ":50051", "127.0.0.1:65536", "127.0.0.1:x", "h:-1"])
def test_an_address_without_a_host_or_a_port_is_refused(capsys: pytest.CaptureFixture[str], listen: str) -> None:
    [line] = stop(capsys, ["--model", "x", f"--listen={listen}"])
    assert line.startswith("ATELIER_LISTEN: ")
    assert "must be host:port" in line


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", "auto"])
def test_a_device_is_one_that_exists(device: str) -> None:
    assert load(Config, "sample_service", ["--model", "x", "--device", device]).device == device


def test_an_unknown_option_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert any("--nonsense" in line for line in stop(capsys, ["--model", "x", "--nonsense", "1"]))


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(Config, "sample_service", ["--model", "x"]).model = "y"


def test_the_default_asset_store_is_in_the_home_folder(tmp_path: Path) -> None:
    assert ServiceConfig().assets == (tmp_path / ".local/share/atelier/user-library").as_uri()
    assert (tmp_path / ".local/share/atelier/user-library").is_dir()


def test_help_describes_the_service_and_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        load(Config, "sample_service", ["--help"])
    text = capsys.readouterr().out
    assert exited.value.code == 0
    assert "python -m sample_service" in text
    assert "The sample worker: makes samples." in text
    options = {f"--{name.replace('_', '-')}" for name in Config.model_fields}
    assert [option for option in options if option not in text] == []
    assert [field for field in Config.model_fields.values() if not field.description] == []


@pytest.mark.parametrize("listen", ["0.0.0.0:50061", "[::]:50061", "10.0.0.7:50061", "worker:50061"])
def test_a_worker_that_others_can_reach_wants_to_know_who_calls(
    capsys: pytest.CaptureFixture[str], listen: str
) -> None:
    [line] = stop(capsys, ["--model", "x", f"--listen={listen}"])
    for name in ("ATELIER_WORKER_TOKEN", "ATELIER_WORKER_TOKEN_FILE", "ATELIER_TLS_CA", "ATELIER_INSECURE_WORKERS"):
        assert name in line
    assert listen in line


def test_a_worker_that_knows_who_calls_listens_where_it_likes(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue(tmp_path)
    mutual = [f"--tls-cert={certificate}", f"--tls-key={key}", f"--tls-ca={authority.write(tmp_path / 'ca.pem')}"]
    (tmp_path / "token").write_text("token-of-the-workers")
    for proof in (
        ["--worker-token=token-of-the-workers"], [f"--worker-token-file={tmp_path / 'token'}"], mutual,
        ["--insecure-workers"],
    ):  # fmt: skip
        assert load(Config, "sample_service", ["--model", "x", "--listen=0.0.0.0:1", *proof])


def test_tls_alone_does_not_say_who_calls(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    certificate, key = Authority().issue(tmp_path)
    [line] = stop(capsys, ["--model=x", "--listen=0.0.0.0:1", f"--tls-cert={certificate}", f"--tls-key={key}"])
    assert "ATELIER_WORKER_TOKEN" in line


def test_half_of_tls_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    certificate, key = Authority().issue(tmp_path)
    ca = Authority().write(tmp_path / "ca.pem")
    for options in ([f"--tls-cert={certificate}"], [f"--tls-key={key}"], [f"--tls-ca={ca}"]):
        [line] = stop(capsys, ["--model", "x", *options])
        assert "both" in line or "tls_cert and tls_key" in line
    [line] = stop(capsys, ["--model", "x", f"--tls-cert={certificate}", "--tls-key=/nowhere"])
    assert "/nowhere cannot be read" in line


@pytest.mark.parametrize("secret", ["short", "with a space in the middle"])
def test_a_secret_that_is_refused_is_not_printed(capsys: pytest.CaptureFixture[str], secret: str) -> None:
    [line] = stop(capsys, ["--model", "x", f"--worker-token={secret}"])
    assert line.startswith("ATELIER_WORKER_TOKEN: ")
    assert secret not in line
    assert secret not in repr(Config(model="x", worker_token="a-secret-of-workers"))
