"""Who calls: what the guard of the server found out, for the length of the call."""

from typing import Any

import grpc

from edge_service.domain.principal import Principal
from shared import interceptors

Context = grpc.aio.ServicerContext[Any, Any]


def principal() -> Principal:
    """Who makes this call."""
    caller: Principal = interceptors.caller.get()
    return caller


def owner() -> str:
    """Whose jobs and assets it is about."""
    return principal().user_id
