"""Who is calling, and whether they may: one file for each way of proving it, and one table of what each RPC needs."""

from edge_service.auth.static_tokens import Tokens, developer_token
from edge_service.domain.principal import Principal

__all__ = ["Principal", "Tokens", "developer_token"]
