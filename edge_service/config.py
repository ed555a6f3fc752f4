"""What the edge is told."""

from pathlib import Path

from pydantic import Field

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
    workers: str = Field("", description="Addresses of the workers, host:port, separated by commas.")
    token: str = Field("", description="The developer token. Default: made at first start, kept in the data folder.")

    @property
    def worker_addresses(self) -> tuple[str, ...]:
        return tuple(address.strip() for address in self.workers.split(",") if address.strip())
