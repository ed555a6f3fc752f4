"""Tokens that are known beforehand, such as the developer's: it is made at first start and never a default."""

import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from edge_service.auth.principal import Principal
from shared.errors import Unauthenticated
from shared.identity import bearer

TOKEN_BYTES = 32
NOT_KNOWN = "the token is not known; send the metadata `authorization: Bearer <token>`"


class Tokens:
    """The tokens that are accepted, each with its owner."""

    def __init__(self, owners: Mapping[str, Principal]) -> None:
        self._owners = {token.encode(): owner for token, owner in owners.items()}

    def guard(self, method: str, metadata: Mapping[str, str | bytes]) -> Principal:
        """The caller of one RPC. Raises Unauthenticated."""
        if (owner := self.owner(bearer(metadata))) is None:
            raise Unauthenticated(NOT_KNOWN)
        return owner

    def owner(self, token: str) -> Principal | None:
        """Whose token it is; None if nobody's."""
        given = token.encode()
        # Every known token is compared, so that the time taken says nothing about any of them.
        matches = [owner for known, owner in self._owners.items() if hmac.compare_digest(known, given)]
        return matches[0] if matches else None


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
