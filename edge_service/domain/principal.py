"""Who makes a call, and what they may do with it."""

from dataclasses import dataclass

from atelier.pb.edge.v1 import edge_pb2

# Everything that a token or key can cover. Which RPC needs which stands in auth/rpc_scopes.py.
SCOPES = frozenset({
    "account", "assets.read", "assets.write", "chat", "fleet.read", "fleet.write", "jobs.read", "jobs.write", "keys",
})  # fmt: skip


@dataclass(frozen=True)
class Principal:
    """An authenticated caller. Jobs and assets belong to exactly one `user_id`."""

    user_id: str
    tier: str = "guest"
    """A row of `policies/tiers.yaml`."""
    scopes: frozenset[str] = SCOPES
    """What the proof covers of what the tier may; by default all of it."""
    content_mode: "edge_pb2.ContentMode | None" = None
    """The most explicit content of this account, where its issuer says so; None leaves it to the tier."""
    key_id: str = ""
    """The API key that proved it; empty for any other proof."""
    expires: float = 0.0
    """When the API key expires, in Unix seconds; 0 for any other proof."""
