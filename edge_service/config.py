"""What the edge is told."""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from edge_service.accounts.tiers import Tiers
from edge_service.adapters.url_guard import UrlGuard
from edge_service.auth.api_keys.key_format import PREFIX
from edge_service.auth.issuer import check_url
from edge_service.auth.jwks import KeysUnreadable, parsed_file, signing_keys
from edge_service.auth.rpc_scopes import PERMISSIONS
from edge_service.auth.static_tokens import check_token
from edge_service.fleet.discovery import parse
from edge_service.policies.registry import load
from edge_service.policy.mistakes import PolicyRefused
from shared.config import ServiceConfig, certificates
from shared.identity import Certificates

DEFAULT_TIER = "guest"


class EdgeConfig(ServiceConfig):
    """The edge: takes requests from clients, stores them as jobs, hands them to workers, and relays what they make.

    Every option can also be given as an environment variable: --database-url is ATELIER_DATABASE_URL.
    """

    listen: str = Field("127.0.0.1:50051", description="Address to serve gRPC on, host:port; port 0 takes a free one.")
    http_listen: str = Field("127.0.0.1:50080", description="Address to serve asset URLs and /metrics on.")
    http_address_file: str = Field("", description="File to write the bound HTTP address to.")
    public_base: str = Field("", description="What asset URLs begin with. Default: http:// and the HTTP address.")
    data: Path = Field(
        default_factory=lambda: Path.home() / ".local/share/atelier",
        description="Folder of the token and the embedded database. [default: ~/.local/share/atelier]",
    )
    database_url: str = Field("", description="PostgreSQL, postgresql://user:password@host/db. Default: embedded.")
    workers: str = Field(
        "",
        description="The workers, separated by commas: host:port, or dns:///name:port for all behind a DNS name.",
    )
    keep_assets_days: int = Field(
        7, ge=1, le=3650, description="Days until an asset is deleted, file and all. No 0: its owner has to fetch it."
    )
    keep_jobs_days: int = Field(
        30, ge=1, le=3650, description="Days after its end until a job is forgotten; never before its assets."
    )
    keep_events_hours: int = Field(
        24, ge=1, le=87600, description="Hours after its end until all events of a job but the last are forgotten."
    )
    token: SecretStr = Field(
        SecretStr(""),
        description="The developer token, 16 letters or more. Default: made at first start, kept in the data folder.",
    )
    policies: str = Field(
        "",
        description="Folder of policies (docs/policies.md). A file in it replaces the built-in one of its name.",
    )
    jwt_issuer: str = Field(
        "",
        description="OpenID Connect issuer whose tokens (JWT) are taken, as they name it in iss. Default: none.",
    )
    jwt_audience: str = Field(
        "", description="What those tokens must name in aud. Required with jwt_issuer.", validate_default=True
    )
    jwt_jwks: str = Field(
        "", description="The issuer's keys, a JWK Set: URL or file. Default: as its discovery document says."
    )
    jwt_tier_claim: str = Field(
        "atelier_tier", description="The claim that names the caller's tier.", min_length=1, max_length=200
    )
    jwt_default_tier: str = Field(
        DEFAULT_TIER, description="The tier of tokens that name none, or one there is not.", validate_default=True
    )
    jwt_skew_seconds: float = Field(
        30, ge=0, le=300, description="How far the issuer's clock may be from ours, for exp, nbf and iat."
    )
    worker_tls_cert: str = Field("", description="Certificate chain to show to workers, a PEM file.")
    worker_tls_key: str = Field("", description="Its private key, a PEM file.")
    worker_tls_ca: str = Field(
        "",
        description="Authorities that workers' certificates must come from, a PEM file. Default: no TLS to workers.",
        validate_default=True,
    )
    worker_tls_name: str = Field(
        "", description="The name in every worker's certificate. Default: the host that each is reached at."
    )
    allowed_networks: str = Field(
        "",
        description="Networks besides the internet that webhooks may go to and reference pictures come from,"
        " separated by commas: 10.1.0.0/16.",
    )

    @field_validator("token")
    @classmethod
    def _is_a_secret_of_its_own(cls, token: SecretStr) -> SecretStr:
        if token.get_secret_value().startswith(PREFIX):
            raise ValueError("is an API key, whose holder would become the developer: give the edge a token of its own")
        if token.get_secret_value():
            check_token(token.get_secret_value())
        return token

    @field_validator("jwt_issuer")
    @classmethod
    def _is_an_issuer(cls, issuer: str) -> str:
        return check_url(issuer) if issuer else ""

    @field_validator("jwt_audience")
    @classmethod
    def _is_there_with_an_issuer(cls, audience: str, info: ValidationInfo) -> str:
        if bool(audience) != bool(info.data.get("jwt_issuer", audience)):
            raise ValueError("jwt_issuer and jwt_audience belong together: set both")
        return audience

    @field_validator("jwt_jwks")
    @classmethod
    def _are_keys(cls, source: str, info: ValidationInfo) -> str:
        if source and not info.data.get("jwt_issuer", source):
            raise ValueError("is of no use without jwt_issuer")
        if "://" in source:
            return check_url(source)
        try:
            signing_keys(parsed_file(Path(source))) if source else None
        except KeysUnreadable as error:
            raise ValueError(str(error)) from None
        return source

    @field_validator("jwt_default_tier")
    @classmethod
    def _is_a_tier(cls, name: str, info: ValidationInfo) -> str:
        if name == DEFAULT_TIER and not info.data.get("jwt_issuer"):
            return name
        try:
            known = load(info.data.get("policies", "")).table("tiers", Tiers).tiers
        except PolicyRefused:  # the edge says all that is wrong with them when it takes them
            return name
        if name not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        if set(known[name].permissions) & set(PERMISSIONS.values()):
            raise ValueError("must be a tier without operator permissions: every token of the issuer would have it")
        return name

    @field_validator("worker_tls_ca")
    @classmethod
    def _are_certificates_for_workers(cls, authority: str, info: ValidationInfo) -> str:
        certificate, key = info.data.get("worker_tls_cert", ""), info.data.get("worker_tls_key", "")
        if certificates(certificate, key, authority) and not authority:
            raise ValueError("is needed with worker_tls_cert: the edge must know its workers as well")
        return authority

    @field_validator("allowed_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        UrlGuard(text)
        return text

    @field_validator("workers")
    @classmethod
    def _are_addresses(cls, workers: str) -> str:
        parse(_entries(workers))
        return workers

    @field_validator("keep_jobs_days")
    @classmethod
    def _outlives_its_assets(cls, days: int, info: ValidationInfo) -> int:
        if days < (assets := info.data.get("keep_assets_days", days)):
            raise ValueError(f"must be at least the {assets} of keep_assets_days: a job goes after its assets")
        return days

    @property
    def worker_certificates(self) -> Certificates:
        """What proves edge and workers to each other; false without TLS between them."""
        return Certificates(self.worker_tls_cert, self.worker_tls_key, self.worker_tls_ca)

    @property
    def worker_addresses(self) -> tuple[str, ...]:
        return _entries(self.workers)


def _entries(workers: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in workers.split(",") if entry.strip())
