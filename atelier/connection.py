"""Where the edge is, what proves who is calling, and the channel between."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import grpc

from atelier.errors import Unauthenticated

DEFAULT_EDGE = "127.0.0.1:50051"
# What an HTTP header can carry without a space; gRPC answers anything else with an error of its own.
TOKEN = re.compile(r"[!-~]+")
NO_TOKEN = "has characters that no token has, such as spaces, line breaks or accents; copy it again"
NOWHERE = "no token in"
TLS, TLS_PORT = "https://", 443
# Only UNAVAILABLE says that nothing was done, and only that is tried again.
RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
}
OPTIONS = (
    ("grpc.enable_retries", 1),
    ("grpc.service_config", json.dumps(RETRIES)),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),  # without it a frozen edge goes unnoticed for over 30 s
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # how long a connection may take; a frozen edge's never comes about
)


@dataclass(frozen=True)
class Connection:
    """An edge and who calls it."""

    address: str
    token: str

    def channel(self) -> grpc.aio.Channel:
        """A new channel to the edge; it connects at the first call. Over TLS where the address begins with https://."""
        if not self.address.startswith(TLS):
            return grpc.aio.insecure_channel(self.address, options=OPTIONS)
        authorities = os.environ.get("ATELIER_EDGE_CA", "")
        credentials = grpc.ssl_channel_credentials(Path(authorities).read_bytes() if authorities else None)
        return grpc.aio.secure_channel(_with_port(self.address.removeprefix(TLS)), credentials, options=OPTIONS)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return (("authorization", f"Bearer {self.token}"),)


def data_folder() -> Path:
    """`$ATELIER_DATA`, or `~/.local/share/atelier`: where `atelier up` leaves its addresses and token."""
    return Path(os.environ.get("ATELIER_DATA") or Path.home() / ".local/share/atelier")


def addresses_file(data: Path) -> Path:
    """Where `atelier up` writes what listens where, while it runs."""
    return data / "addresses.json"


def find(address: str = "", token: str = "") -> Connection:
    """What is given, else what the environment says, else what `atelier up` left in the data folder.

    Raises Unauthenticated if there is no token anywhere, or one with characters that no token has.
    """
    data = data_folder()
    address = address or os.environ.get("ATELIER_EDGE", "") or running_addresses(data).get("edge", DEFAULT_EDGE)
    return Connection(address, _token(token, data / "token"))


def running_addresses(data: Path) -> dict[str, str]:
    """What listens where, as `atelier up` wrote it; empty if it does not run on this data folder."""
    text = _read(addresses_file(data))
    return dict(json.loads(text)) if text else {}


def _token(given: str, file: Path) -> str:
    sources = {"the token that was given": given, "ATELIER_TOKEN": os.environ.get("ATELIER_TOKEN", "")}
    sources[str(file)] = _read(file)
    for source, text in sources.items():
        if token := text.strip():
            if not TOKEN.fullmatch(token):
                raise Unauthenticated(f"{source} {NO_TOKEN}")
            return token
    raise Unauthenticated(f"{NOWHERE} ATELIER_TOKEN or {file}; `atelier up` makes one")


def _with_port(address: str) -> str:
    address = address.rstrip("/")
    return address if address.rpartition(":")[2].isdecimal() else f"{address}:{TLS_PORT}"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
