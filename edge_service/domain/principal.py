"""Somebody who may call."""

from dataclasses import dataclass

from edge_service.auth.rpc_scopes import SCOPES
from shared.pb.atelier.edge.v1 import edge_pb2


@dataclass(frozen=True)
class Principal:
    """Somebody who may call, and whose jobs and assets are theirs alone."""

    user_id: str
    tier: str = "guest"
    """A row of `policies/tiers.yaml`."""
    scopes: frozenset[str] = SCOPES
    """What the proof covers of what the tier may; by default all of it."""
    content_mode: "edge_pb2.ContentMode | None" = None
    """The most explicit content of this account, where whoever vouches for it says so; None leaves it to the tier."""
    key_id: str = ""
    """The API key that proved it; empty for any other proof."""
    expires: float = 0.0
    """When the API key stops being taken, in Unix seconds; 0 for any other proof."""
