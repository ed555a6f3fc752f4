"""Who is calling: token -> Principal. One developer token for now; it is made at first start and never a default."""

import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Unauthenticated

TOKEN_BYTES = 32
HOW = "send the metadata `authorization: Bearer <token>`"


@dataclass(frozen=True)
class Principal:
    """Somebody who may call, and whose jobs and assets are theirs alone."""

    user_id: str
    tier: str = "guest"
    """A row of `policies/tiers.yaml`."""


class Tokens:
    """The tokens that are accepted, each with its owner."""

    def __init__(self, owners: Mapping[str, Principal]) -> None:
        self._owners = {token.encode(): owner for token, owner in owners.items()}

    def guard(self, method: str, metadata: Mapping[str, str | bytes]) -> Principal:
        """The caller of one RPC. Raises Unauthenticated."""
        given = metadata.get("authorization")
        if not isinstance(given, str) or not given:
            raise Unauthenticated(f"no token; {HOW}")
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated(f"not a bearer token; {HOW}")
        # Every known token is compared, so that the time taken says nothing about any of them.
        matches = [owner for known, owner in self._owners.items() if hmac.compare_digest(known, token.strip().encode())]
        if not matches:
            raise Unauthenticated(f"the token is not known; {HOW}")
        return matches[0]


def developer_token(data: Path) -> str:
    """The token in the data folder, readable by its owner alone; made if there is none."""
    path = data / "token"
    data.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        file.write(token)
    return token
