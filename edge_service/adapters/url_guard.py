"""Protection against SSRF: which addresses the edge may connect to on a user's behalf.

A URL is checked twice: its text when it is submitted, which tells the user early, and each address that its name stands
for when it is connected to (`http_client.py`), which is what protects: what a name stands for may change in between.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from atelier.contracts.errors import InvalidRequest, Violation

Address = IPv4Address | IPv6Address
PORTS = {"http": 80, "https": 443}
MAX_NAME, MAX_LABEL = 253, 63
# A host and a port, and nothing that two parsers could read in two ways: no user, no percent sign, ASCII alone.
AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?", re.IGNORECASE)
# What some resolvers take for a number and therefore for an IPv4 address: 127.1, 2130706433, 0x7f000001.
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Names that stand for this machine or its network wherever they are asked for.
LOCAL_ENDINGS = (
    "localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home", "lan", "home.arpa",
)  # fmt: skip
# Where clouds keep the machine's credentials: no network that an operator allows includes them.
METADATA = {
    ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192",
                 "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254")
}  # fmt: skip
# IPv4 addresses inside IPv6 addresses: the IPv4 address is checked.
NAT64 = ip_network("64:ff9b::/96")
GLOBAL_UNICAST = ip_network("2000::/3")
# Refused whatever Python's registry says of them: tunnels, whose ends are not those one sees, and documentation.
TUNNELS = [ip_network(text) for text in ("2001::/32", "2002::/16", "192.88.99.0/24")]
RESERVED = [ip_network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20", "192.0.0.0/24")]


class AddressRefused(Exception):
    """The edge does not connect there. `why` continues a sentence about the address and holds nothing of the URL."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class NotInternet(AddressRefused):
    """It is not an address of the internet; an operator may allow its network."""


@dataclass(frozen=True)
class Target:
    """A URL taken apart. The host is lower-case, without brackets; the path has the query with it."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


class UrlGuard:
    """The rules, with the networks that an operator allows besides the internet: CIDRs, separated by commas."""

    def __init__(self, allowed: str = "") -> None:
        """Raises ValueError for what is no network."""
        self._allowed = [ip_network(text.strip()) for text in allowed.split(",") if text.strip()]

    def check(self, field: str, url: str) -> None:
        """Checks the text of a URL. Raises InvalidRequest that names the field and the reason."""
        try:
            self.target(url)
        except AddressRefused as refused:
            hint = (
                "; an operator may allow its network, see docs/webhooks.md" if isinstance(refused, NotInternet) else ""
            )
            raise InvalidRequest(Violation(field, refused.why + hint)) from None

    def target(self, url: str) -> Target:
        """takes a URL apart and checks its text. Raises AddressRefused."""
        parts = _parts(url)
        found = AUTHORITY.fullmatch(parts.netloc)
        if not found:
            raise AddressRefused("must have a host of letters, digits, dots and hyphens; write other names as xn--")
        host, port = found["host"].lower().strip("[]"), int(found["port"] or PORTS[parts.scheme])
        if not 0 < port < 2**16:
            raise AddressRefused(f"must have a port of 1 to 65535, got {port}")
        self._check_host(host)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(parts.scheme, host, port, path)

    def check_address(self, address: Address) -> None:
        """Checks the address that is about to be connected to. Raises AddressRefused."""
        inner = _inner(address)
        if {address, inner} & METADATA:
            raise AddressRefused("must not be a metadata address")
        if not any(each in network for each in (address, inner) for network in self._allowed):
            _check_public(inner)

    def _check_host(self, host: str) -> None:
        if ":" in host or NUMBER.fullmatch(host.rsplit(".", 1)[-1]):
            self.check_address(_literal(host))
            return
        labels = host.split(".")
        if not all(0 < len(label) <= MAX_LABEL for label in labels) or len(host) > MAX_NAME:
            raise AddressRefused("must not have an empty or overlong part in its host, nor a dot at its end")
        local = len(labels) == 1 or any(host == end or host.endswith(f".{end}") for end in LOCAL_ENDINGS)
        # Where networks are allowed such a name may stand for one of them; it is checked when it is connected to.
        if local and not self._allowed:
            raise NotInternet("must not be a name of the local machine or network")


INTERNET = UrlGuard()
"""What holds where no operator has allowed anything."""


def _parts(url: str) -> SplitResult:
    if not re.fullmatch(r"[!-~]+", url) or "\\" in url:
        raise AddressRefused("must be printable ASCII without spaces and backslashes")
    if "#" in url:
        raise AddressRefused("must not have a fragment")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise AddressRefused("is not a URL") from None
    if parts.scheme not in PORTS:
        raise AddressRefused("must begin with http:// or https://")
    if "@" in parts.netloc:
        raise AddressRefused("must not carry a user name or a password")
    return parts


def _literal(host: str) -> Address:
    try:
        return ip_address(host)
    except ValueError:
        form = "an IPv6 address" if ":" in host else "an IPv4 address, four decimal numbers without leading zeros"
        raise AddressRefused(f"must write its host as {form}, or as a name") from None


def _inner(address: Address) -> Address:
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def _check_public(address: Address) -> None:
    for word in ("unspecified", "loopback", "link_local", "multicast"):
        if getattr(address, f"is_{word}"):
            raise NotInternet(f"must not be a {word.replace('_', '-')} address")
    if any(address in network for network in TUNNELS):
        raise NotInternet("must not be an address of a tunnel (6to4, Teredo)")
    if not address.is_global or (address.version == 6 and address not in GLOBAL_UNICAST):
        raise NotInternet("must not be a private or reserved address")
    if any(address in network for network in RESERVED):
        raise NotInternet("must not be a private or reserved address")
