"""Configuration: the environment -> one frozen model per service, every mistake reported at once, at start.

Each field `name` of a subclass is read from `ATELIER_NAME`, or from `--name` on the command line, which wins; its
description is what `--help` prints.
"""

import inspect
import sys
from pathlib import Path
from typing import NoReturn, TypeVar

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.assets import AssetStore

PREFIX = "ATELIER_"
MAX_PORT = 65535


def _library_in_home() -> str:
    return (Path.home() / ".local/share/atelier/user-library").as_uri()


class ServiceConfig(BaseSettings):
    """What every service is told."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_implicit_flags=True,
    )

    listen: str = Field("127.0.0.1:0", description="Address to serve gRPC on, host:port; port 0 takes a free one.")
    address_file: str = Field("", description="File to write the bound address to once the port is open.")
    assets: str = Field(
        default_factory=_library_in_home,
        description="Asset store: file:///folder/bucket, s3://bucket, gs://bucket or az://container."
        " [default: ~/.local/share/atelier/user-library]",
        validate_default=True,
    )
    log_level: str = Field("info", description="debug, info, warning or error.", pattern="^(debug|info|warning|error)$")
    log_format: str = Field("json", description="json, one object a line, or text for people.", pattern="^(json|text)$")
    drain_seconds: float = Field(
        30,
        ge=0,
        description="Longest time running work may take after SIGTERM; then it is handed back, to run elsewhere.",
    )

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        host, _, port = address.rpartition(":")
        if not (host and port.isdecimal() and int(port) <= MAX_PORT):  # gRPC takes port 65536 for port 0
            raise ValueError(f"must be host:port with a port of 0 to {MAX_PORT}")
        return address

    @field_validator("assets")
    @classmethod
    def _is_a_store(cls, url: str) -> str:
        AssetStore(url)
        return url


class WorkerServiceConfig(ServiceConfig):
    """What every worker is told besides."""

    worker_id: str = Field("", description="Name in callbacks. Default: {type}_worker_001.", pattern="^[a-z0-9_.-]*$")
    model: str = Field("", description="What to load: a local folder or a hub id. Required.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    dtype: str = Field(
        "auto", description="auto, float32, bfloat16 or float16.", pattern="^(auto|float32|bfloat16|float16)$"
    )
    slots: int = Field(1, ge=1, le=256, description="Jobs executed at once.")
    waiting: int = Field(2, ge=0, le=1000, description="Jobs that may wait for a slot inside the worker.")


class DiffusionWorkerConfig(WorkerServiceConfig):
    """What the workers are told besides whose models denoise."""

    compile: bool = Field(False, description="Compile the model: slower to start, faster to run.")
    cpu_offload: bool = Field(False, description="Keep parts of the model in main memory until they are needed.")
    attention_slicing: bool = Field(False, description="Less memory for attention, slower.")


C = TypeVar("C", bound=ServiceConfig)


def load(cls: type[C], service: str, arguments: list[str] | None = None) -> C:
    """Reads the configuration or stops the process, having named every variable that is wrong."""
    given = sys.argv[1:] if arguments is None else arguments
    cls.__doc__ = inspect.cleandoc(cls.__doc__ or "")  # what --help begins with
    try:
        return cls(_cli_parse_args=given, _cli_prog_name=f"python -m {service}")  # type: ignore[call-arg]
    except ValidationError as error:
        _stop(error)


def _stop(error: ValidationError) -> NoReturn:
    for mistake in error.errors():
        name = ".".join(str(part) for part in mistake["loc"]).upper()
        given = "" if mistake["type"] == "missing" else f", got {mistake['input']!r}"
        print(f"{PREFIX}{name}: {mistake['msg']}{given}", file=sys.stderr)  # noqa: T201
    sys.exit(2)
