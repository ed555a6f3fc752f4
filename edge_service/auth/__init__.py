"""Who is calling, and whether they may: one file for each way of proving it, and one table of what each RPC needs."""

from edge_service.auth.principal import Principal
from edge_service.auth.tokens import Tokens, developer_token

__all__ = ["Principal", "Tokens", "developer_token"]
