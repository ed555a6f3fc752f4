"""Worker slots: how many jobs a worker executes at once, and how many may wait for one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from atelier.contracts.errors import Draining, NoFreeSlot


class Slots:
    """Counts running and waiting jobs. Take `changed` before reading the counts; it is set when they change."""

    def __init__(self, total: int, waiting_limit: int) -> None:
        self.total, self.waiting_limit = total, waiting_limit
        self.running = self.waiting = 0
        self.accepting = self.draining = False
        self.changed = asyncio.Event()
        self._semaphore = asyncio.Semaphore(total)

    @property
    def free(self) -> int:
        return self.total - self.running

    @property
    def busy(self) -> bool:
        """Whether a job that came now would have to wait."""
        return self._semaphore.locked()

    def accept(self) -> None:
        """Takes new work from now on, unless it drains already."""
        self.accepting = not self.draining
        self._count()

    def pause(self) -> None:
        """Takes no new work until `accept`."""
        self.accepting = False
        self._count()

    def drain(self) -> None:
        """Takes no new work from now on. Final."""
        self.accepting, self.draining = False, True
        self._count()

    def check(self) -> None:
        """Raises NoFreeSlot if the waiting line is full, Draining if no new work is taken."""
        if not self.accepting:
            raise Draining("this worker takes no new work now")
        if self.busy and self.waiting >= self.waiting_limit:
            raise NoFreeSlot(f"all {self.total} slots are taken and {self.waiting} jobs wait")

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Waits for a slot, first come first served, and keeps it for the length of the block.

        Raises at once what `check` raises.
        """
        await self._enter()
        self._count(running=1)
        try:
            yield
        finally:
            self._semaphore.release()
            self._count(running=-1)

    async def _enter(self) -> None:
        self.check()
        self._count(waiting=1)
        try:
            await self._semaphore.acquire()
        finally:
            self._count(waiting=-1)

    def _count(self, running: int = 0, waiting: int = 0) -> None:
        self.running += running
        self.waiting += waiting
        before, self.changed = self.changed, asyncio.Event()
        before.set()
