"""A concurrency limit shared by all owners, with a smaller one for each of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from weakref import WeakValueDictionary


class PerOwnerLimiter:
    """At most `max_concurrent` slots in all, `max_per_owner` of one owner; tasks of an owner wait first in, first out.

    An owner who asks for many slots delays no other: its own limit is waited for before the common one is.
    """

    def __init__(self, max_concurrent: int, max_per_owner: int) -> None:
        self._all, self._max_per_owner = asyncio.Semaphore(max_concurrent), max_per_owner
        self._of_owners: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def slot(self, owner: str) -> AsyncIterator[None]:
        """Holds one slot for the length of the block."""
        mine = self._of_owners.setdefault(owner, asyncio.Semaphore(self._max_per_owner))
        async with mine, self._all:
            yield
