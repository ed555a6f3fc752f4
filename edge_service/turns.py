"""Turns at something that few can do at once: so many of all, and so many of one owner, who so delays only himself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from weakref import WeakValueDictionary


class Turns:
    """Hands out turns, to each owner's tasks in the order in which they came."""

    def __init__(self, most: int, most_of_owner: int) -> None:
        self._all, self._most_of_owner = asyncio.Semaphore(most), most_of_owner
        self._of_owners: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def of(self, owner: str) -> AsyncIterator[None]:
        """One turn, for the length of the block."""
        mine = self._of_owners.setdefault(owner, asyncio.Semaphore(self._most_of_owner))
        async with mine, self._all:
            yield
