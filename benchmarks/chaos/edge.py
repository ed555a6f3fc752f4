"""`python -m benchmarks.chaos.edge FAULTS POLICY PARENT`: a real edge whose database fails as often as the file FAULTS
says, with the policy of tiers changed as the JSON object POLICY says.

The file holds two probabilities: that a use of the database fails before it is executed, and that it is executed,
committed, and then fails for the caller. What else it is configured with comes from ATELIER_* variables.
"""

import contextlib
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

from atelier.contracts.errors import DatabaseUnavailable
from benchmarks.chaos.leash import die_with_parent
from edge_service.accounts import tiers
from edge_service.adapters.database import Connection, Database
from edge_service.auth import Principal, Tokens
from edge_service.config import EdgeConfig
from shared.config import load
from shared.server import run

# Each user's tier is the first part of the name.
TIERS, USERS_OF_TIER = ("guest", "basic", "premium", "admin"), 40


def users() -> dict[str, Principal]:
    """Every user's token."""
    found = [Principal(f"{tier}-{number}", tier) for tier in TIERS for number in range(USERS_OF_TIER)]
    return {f"token-of-{user.user_id}": user for user in found}


class Faults:
    """How often the database fails now."""

    def __init__(self, path: Path) -> None:
        self._path, self._changed, self._chances = path, 0.0, (0.0, 0.0)

    def happens(self, when: int) -> bool:
        """Draws: 0 before a statement, 1 after it."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            if (changed := self._path.stat().st_mtime) != self._changed:
                before, after = map(float, self._path.read_text().split())
                self._changed, self._chances = changed, (before, after)
        return random.random() < self._chances[when]


class FaultyDatabase(Database):
    """The edge's database, and what goes wrong with it."""

    faults = Faults(Path(os.devnull))

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        if self.faults.happens(0):
            raise DatabaseUnavailable("a fault before the statement")
        async with super().connection() as connection:
            yield connection
        if self.faults.happens(1):
            raise DatabaseUnavailable("a fault after the statement")


def _boundless(table: tiers.Tiers) -> tiers.Tiers:
    """The table with everyone's quotas as large as the largest: the load here is that of a few users' accounts."""
    quotas = table.tiers["admin"].quotas
    users = {name: tier.model_copy(update={"quotas": quotas}) for name, tier in table.tiers.items()}
    return table.model_copy(update={"tiers": users})


def main(faults: Path, policy: dict[str, Any]) -> None:
    table = _boundless(tiers.tiers()).model_copy(update=policy)
    tiers.tiers = cache(lambda: table)
    # Only here, for it takes the table of tiers by its name.
    from edge_service import bootstrap as service

    FaultyDatabase.faults = Faults(faults)
    service.Database = FaultyDatabase  # type: ignore[attr-defined]
    config = load(EdgeConfig, "edge", [])
    run(service.Edge(config, Tokens(users())), config)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[3]))
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
