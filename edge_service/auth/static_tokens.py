"""Tokens that are known beforehand, such as the developer's: it is made at first start and never a default."""

import contextlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

from atelier.contracts.errors import Unauthenticated
from edge_service.domain.principal import Principal
from shared.identity import Secret, bearer

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
        """The principal whose token it is; None if it is unknown."""
        if not token:
            return None
        given = token.encode()
        # Every known token is compared, so that the time taken says nothing about any of them.
        matches = [owner for known, owner in self._owners.items() if hmac.compare_digest(known, given)]
        return matches[0] if matches else None


def developer_token(data: Path) -> str:
    """The token in the data folder, readable by its owner alone; made if there is none.

    It is there whole or not at all. Raises SystemExit for a file that holds no token.
    """
    path = data / "token"
    data.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        handle, unfinished = tempfile.mkstemp(prefix=".token-", dir=data)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(TOKEN_BYTES))
        with contextlib.suppress(FileExistsError):  # another process was faster: its token is the one
            os.link(unfinished, path)
        os.unlink(unfinished)
    token = path.read_text().strip()
    try:
        check_token(token)
    except ValueError as error:
        raise SystemExit(f"{path}: {error}; remove it, and a new one is made") from None
    return token


def check_token(token: str) -> None:
    """Raises ValueError, which quotes nothing, for what is no token: too short, or of more than one word."""
    if len(token.split()) != 1:
        raise ValueError("must be one word")
    Secret(token, "")
