"""Where the workers are: addresses as they are, and DNS names whose every record is a worker."""

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

log = logging.getLogger(__name__)

RESOLVE_SECONDS = 5.0
# A lookup that hangs counts as one that failed.
LOOKUP_SECONDS = 10.0
DNS = "dns:///"
MAX_PORT = 65535
_ENTRY = re.compile(r"(?P<dns>dns:///)?(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})")

# Host and port -> the addresses of all workers behind the name, host:port. Raises OSError if that cannot be told now.
Resolve = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True)
class Name:
    """A DNS name, such as that of a headless Service."""

    host: str
    port: int


def parse(entries: Sequence[str]) -> tuple[list[str], list[Name]]:
    """Splits the list of workers into addresses and names. Raises ValueError, naming the entry that is neither."""
    addresses: list[str] = []
    names: list[Name] = []
    for entry in entries:
        found = _ENTRY.fullmatch(entry)
        if not found or not 0 < int(found["port"]) <= MAX_PORT:
            raise ValueError(f"{entry!r} must be host:port or {DNS}name:port, with a port of 1 to {MAX_PORT}")
        if found["dns"]:
            names.append(Name(found["host"].strip("[]"), int(found["port"])))
        else:
            addresses.append(entry)
    return addresses, names


async def resolve(host: str, port: int) -> list[str]:
    """Asks the system's resolver, beside the event loop, for every A and AAAA record."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [_address(family, str(target[0]), port) for family, _, _, _, target in found]


def _address(family: int, host: str, port: int) -> str:
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"


class Discovery:
    """Looks names up again and again. What a name stood for last stays known while a lookup fails."""

    def __init__(self, names: Sequence[Name], resolve: Resolve = resolve) -> None:
        self._resolve = resolve
        self._known: dict[Name, frozenset[str]] = dict.fromkeys(names, frozenset())
        self._failing: set[Name] = set()

    @property
    def addresses(self) -> frozenset[str]:
        """Every address that a name stands for now."""
        return frozenset().union(*self._known.values())

    async def follow(self, found: Callable[[], None]) -> None:
        """Looks every name up for ever, calling `found` after each round of it."""
        await asyncio.gather(*(self._follow(name, found) for name in self._known))

    async def _follow(self, name: Name, found: Callable[[], None]) -> None:
        while True:
            await self._look_up(name)
            found()
            await asyncio.sleep(RESOLVE_SECONDS)

    async def _look_up(self, name: Name) -> None:
        with contextlib.suppress(OSError, UnicodeError):  # TimeoutError is an OSError; no DNS label may be "a..b"
            async with asyncio.timeout(LOOKUP_SECONDS):
                self._known[name] = frozenset(await self._resolve(name.host, name.port))
            self._failing.discard(name)
            return
        if name not in self._failing:
            log.warning("worker name not found", extra={"name_": name.host, "known": len(self._known[name])})
        self._failing.add(name)
