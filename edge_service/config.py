"""What the edge is told."""

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from edge_service.addresses import Addresses
from edge_service.fleet.discovery import parse
from shared.config import ServiceConfig


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
    token: str = Field("", description="The developer token. Default: made at first start, kept in the data folder.")
    allowed_networks: str = Field(
        "",
        description="Networks besides the internet that webhooks may go to and reference pictures come from,"
        " separated by commas: 10.1.0.0/16.",
    )

    @field_validator("allowed_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        Addresses(text)
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
    def worker_addresses(self) -> tuple[str, ...]:
        return _entries(self.workers)


def _entries(workers: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in workers.split(",") if entry.strip())
