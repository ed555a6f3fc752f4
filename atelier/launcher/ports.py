"""The ports of the last start, taken again where they are free: clients that wait and URLs that were handed out find
the stack where it was."""

import contextlib
import json
import socket
from collections.abc import Mapping
from pathlib import Path

FILE = "last_addresses.json"
HIGHEST = 65535


def remember(folder: Path, addresses: Mapping[str, str]) -> None:
    """Keeps what listens where for the next start; a folder that is full costs no more than that."""
    with contextlib.suppress(OSError):
        (folder / FILE).write_text(json.dumps(dict(addresses)))


def remembered(folder: Path) -> dict[str, str]:
    """What listened where, as far as it is known."""
    try:
        return {str(name): str(address) for name, address in json.loads((folder / FILE).read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def again(listen: str, last: str | None) -> str:
    """`listen`, host:port; where it leaves the port open with that of `last`, if there is one and it is free."""
    host, _, port = listen.rpartition(":")
    wanted = (last or "").rpartition(":")[2]
    is_port = wanted.isdecimal() and int(wanted) <= HIGHEST
    if port == "0" and is_port and _is_free(host.strip("[]"), int(wanted)):
        return f"{host}:{wanted}"
    return listen


def _is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: connections that ended a moment ago do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()  # two may bind with this option, but one alone listens
    except (OSError, OverflowError):
        return False
    return True
