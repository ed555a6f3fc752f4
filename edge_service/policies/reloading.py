"""Takes changed policies without a restart; refuses bad ones and says so, while the old ones stay in force."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edge_service.policies.registry import checked
from edge_service.policy.folder import Gathered, gather
from edge_service.policy.mistakes import PolicyRefused
from edge_service.policy.snapshot import Snapshot, current, in_force, use
from shared.telemetry import POLICY_INFO, POLICY_REFUSED, POLICY_RELOADS

log = logging.getLogger(__name__)

# The files are read, not their times: that notices links that are swapped and changes within one tick of a clock.
LOOK_SECONDS = 1.0
# Most mistakes that one log line names; `atelier policy check` names all.
MAX_LOGGED = 10


class Policies:
    """The policies of a folder over the built-in ones, in force from the moment this is made."""

    def __init__(self, folder: str = "") -> None:
        """Raises SystemExit naming every mistake: a process that has no policies yet must not guess them."""
        self._folder = folder
        gathered = gather(folder)
        try:
            _put_in_force(checked(gathered))
        except PolicyRefused as refused:
            raise SystemExit(f"the policies cannot be used:\n{refused}") from None
        self._seen = self._judged = gathered
        self._task: asyncio.Task[None] | None = None
        self._taken: Callable[[str], Awaitable[None]] | None = None

    def start(self, taken: Callable[[str], Awaitable[None]] | None = None) -> None:
        """Begins to look for changes. `taken` is told the version in force, now and whenever it changes."""
        self._taken = taken
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Reads the files; takes or refuses them once two looks in a row have seen the same.

        Files are written one after another and piece by piece. What one look sees may be half of it, and half a table
        can be a valid table.
        """
        gathered = await asyncio.to_thread(gather, self._folder)
        seen, self._seen = self._seen, gathered
        if gathered == seen and gathered != self._judged:
            self._judged = gathered
            await self._judge(gathered)

    async def _judge(self, gathered: Gathered) -> None:
        try:
            snapshot = await asyncio.to_thread(checked, gathered)
        except PolicyRefused as refused:
            _say_refused(refused)
            return
        _put_in_force(snapshot)
        POLICY_RELOADS.labels("taken").inc()
        log.info("policies taken", extra={"version": snapshot.version})
        await self._tell()

    async def _tell(self) -> None:
        if self._taken:
            await self._taken(in_force().version)

    async def _run(self) -> None:
        await self._tell()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:
                log.exception("a look at the policies failed")


def _put_in_force(snapshot: Snapshot) -> None:
    use(snapshot)
    POLICY_INFO.clear()
    POLICY_INFO.labels(snapshot.version).set(1)
    POLICY_REFUSED.set(0)


def _say_refused(refused: PolicyRefused) -> None:
    POLICY_RELOADS.labels("refused").inc()
    POLICY_REFUSED.set(1)
    first = "; ".join(map(str, refused.mistakes[:MAX_LOGGED]))
    more = f"; and {len(refused.mistakes) - MAX_LOGGED} more" if len(refused.mistakes) > MAX_LOGGED else ""
    log.error(
        "changed policies are refused, the old ones stay in force",
        extra={"version": current().version, "mistakes": first + more},
    )
