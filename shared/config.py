"""Configuration: the environment -> one frozen model per service, every mistake reported at once, at start.

Each field `name` of a subclass is read from `ATELIER_NAME`, or from `--name` on the command line, which wins; its
description is what `--help` prints.
"""

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.assets import AssetStore
from shared.identity import Certificates, Secret, is_loopback

PREFIX = "ATELIER_"
MAX_PORT = 65535
NOBODY_PROVEN = (
    "ATELIER_LISTEN={listen} can be reached by others: set ATELIER_WORKER_TOKEN or ATELIER_WORKER_TOKEN_FILE, or"
    " ATELIER_TLS_CERT, ATELIER_TLS_KEY and ATELIER_TLS_CA, here and for the edge; or ATELIER_INSECURE_WORKERS=true, if"
    " your network lets only the edge through"
)


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

    tls_cert: str = Field("", description="Certificate chain to serve gRPC with, a PEM file. Default: no TLS.")
    tls_key: str = Field("", description="Its private key, a PEM file.")
    tls_ca: str = Field(
        "",
        description="Authorities that callers' certificates must come from, a PEM file: mutual TLS.",
        validate_default=True,
    )
    worker_token: SecretStr = Field(
        SecretStr(""), description="Secret that edge and workers share, 16 characters or more. Workers refuse others."
    )
    worker_token_file: str = Field(
        "", description="File with that secret in place of the variable, one a line: the first is sent, all are taken."
    )

    @field_validator("tls_ca")
    @classmethod
    def _are_certificates(cls, authority: str, info: ValidationInfo) -> str:
        certificates(info.data.get("tls_cert", ""), info.data.get("tls_key", ""), authority)
        if authority and not info.data.get("tls_cert"):
            raise ValueError("needs tls_cert and tls_key: callers prove themselves over TLS only")
        return authority

    @field_validator("worker_token")
    @classmethod
    def _is_a_secret(cls, token: SecretStr) -> SecretStr:
        Secret(token.get_secret_value(), "")
        return token

    @field_validator("worker_token_file")
    @classmethod
    def _is_a_file_of_secrets(cls, file: str, info: ValidationInfo) -> str:
        token = info.data.get("worker_token", SecretStr(""))
        try:
            Secret(token.get_secret_value(), file)
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from None
        return file

    @property
    def worker_secret(self) -> Secret:
        """What edge and workers share; false if they share nothing."""
        return Secret(self.worker_token.get_secret_value(), self.worker_token_file)

    @property
    def certificates(self) -> Certificates:
        """What gRPC is served with; false without TLS."""
        return Certificates(self.tls_cert, self.tls_key, self.tls_ca)

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
    insecure_workers: bool = Field(
        False, description="Serve all callers that can reach the address, where a mesh or a network lets only the edge."
    )

    @model_validator(mode="after")
    def _knows_its_callers(self) -> Self:
        proven = self.worker_secret or self.certificates.proves_the_caller or self.insecure_workers
        if not proven and not is_loopback(self.listen):
            raise ValueError(NOBODY_PROVEN.format(listen=self.listen))
        return self


@dataclass(frozen=True)
class ModelConfig:
    """How one model is run: the logical name requests use, where its weights are, and what memory it may cost.

    `source` is a local folder, a hub id or (SDXL) one safetensors file. `device` and `dtype` may be "auto".
    """

    name: str
    source: str
    device: str = "auto"
    dtype: str = "auto"
    compile: bool = False
    attention_slicing: bool = False
    cpu_offload: bool = False


class DiffusionWorkerConfig(WorkerServiceConfig):
    """What the workers are told besides whose models denoise."""

    compile: bool = Field(False, description="Compile the model: slower to start, faster to run.")
    cpu_offload: bool = Field(False, description="Keep parts of the model in main memory until they are needed.")
    attention_slicing: bool = Field(False, description="Less memory for attention, slower.")

    def named(self, name: str) -> ModelConfig:
        """The configured model under a logical name."""
        options = self.compile, self.attention_slicing, self.cpu_offload
        return ModelConfig(name, self.model, self.device, self.dtype, *options)


C = TypeVar("C", bound=ServiceConfig)


def load(cls: type[C], service: str, arguments: list[str] | None = None) -> C:
    """Reads the configuration or stops the process, having named every variable that is wrong."""
    given = sys.argv[1:] if arguments is None else arguments
    cls.__doc__ = inspect.cleandoc(cls.__doc__ or "")  # what --help begins with
    try:
        return cls(_cli_parse_args=given, _cli_prog_name=f"python -m {service}")  # type: ignore[call-arg]
    except ValidationError as error:
        _stop(cls, error)


def certificates(certificate: str, key: str, authority: str) -> Certificates:
    """The certificates of these files. Raises ValueError that says what is wrong with which."""
    try:
        return Certificates(certificate, key, authority)
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read: {error.strerror}") from None


def _stop(cls: type[ServiceConfig], error: ValidationError) -> NoReturn:
    for mistake in error.errors():
        if not mistake["loc"]:  # of several variables together, which it names
            print(mistake["msg"].removeprefix("Value error, "), file=sys.stderr)  # noqa: T201
            continue
        name = ".".join(str(part) for part in mistake["loc"])
        field = cls.model_fields.get(name)
        quiet = mistake["type"] == "missing" or (field is not None and field.annotation is SecretStr)
        given = "" if quiet else f", got {mistake['input']!r}"
        print(f"{PREFIX}{name.upper()}: {mistake['msg']}{given}", file=sys.stderr)  # noqa: T201
    sys.exit(2)
