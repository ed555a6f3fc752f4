"""How services prove to each other who they are: a secret that both know, certificates, or both. Neither has a default.

Files are read again when they change, so that secrets and certificates are replaced without a restart. What cannot be
used leaves what was read before in force.
"""

import hmac
import ipaddress
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from atelier.contracts.errors import Unauthenticated

log = logging.getLogger(__name__)

HOW = "send the metadata `authorization: Bearer <token>`"
MIN_LETTERS = 16
# A file is looked at again after this long at the soonest.
LOOK_SECONDS = 1.0

T = TypeVar("T")


def bearer(metadata: Mapping[str, str | bytes]) -> str:
    """The token that a call carries. Raises Unauthenticated if there is none."""
    given = metadata.get("authorization")
    if not isinstance(given, str) or not given:
        raise Unauthenticated(f"no token; {HOW}")
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated(f"not a bearer token; {HOW}")
    return token.strip()


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach host:port."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Reread(Generic[T]):
    """What files say, read again when one of them has changed."""

    def __init__(self, paths: tuple[Path, ...], read: Callable[[], T]) -> None:
        """Reads them. Raises ValueError or OSError if they cannot be used."""
        self._paths, self._read = paths, read
        self._stamp, self._looked = self._stamps(), time.monotonic()
        self._value = read()

    def current(self) -> T:
        """What they say now, or said when they could last be used."""
        now = time.monotonic()
        if self._paths and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            stamp = self._stamps()
            if stamp != self._stamp:
                self._value, self._stamp = self._read(), stamp
                log.info("read again", extra={"file": str(self._paths[0])})
        except (OSError, ValueError) as error:
            # The text of an error may quote the file.
            log.warning(
                "kept, for the new one is of no use", extra={"file": str(self._paths[0]), "error": type(error).__name__}
            )

    def _stamps(self) -> tuple[tuple[int, int, int], ...]:
        found = [path.stat() for path in self._paths]
        return tuple((status.st_mtime_ns, status.st_ino, status.st_size) for status in found)


class Secret:
    """A secret of several services, from a variable, or from a file with one a line.

    The first is the one to send; all are taken, so that a new one can be spread before the old one goes.
    """

    def __init__(self, text: str, file: str) -> None:
        """Raises ValueError, which says what is wrong with it and quotes nothing."""
        if text and file:
            raise ValueError("set the token or the file, not both")
        path = Path(file)
        read = (lambda: _tokens(path.read_text())) if file else (lambda: _tokens(text) if text else ())
        self._tokens: Reread[tuple[str, ...]] = Reread((path,) if file else (), read)

    def __bool__(self) -> bool:
        return bool(self._tokens.current())

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a call carries."""
        tokens = self._tokens.current()
        return (("authorization", f"Bearer {tokens[0]}"),) if tokens else ()

    def guard(self, method: str, metadata: Mapping[str, str | bytes]) -> None:
        """Raises Unauthenticated for a call without it."""
        given = bearer(metadata).encode()
        # Each is compared, so that the time taken says nothing about any of them.
        matches = [token for token in self._tokens.current() if hmac.compare_digest(token.encode(), given)]
        if not matches:
            raise Unauthenticated(f"the token is not known; {HOW}")


def _tokens(text: str) -> tuple[str, ...]:
    found = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not found:
        raise ValueError("holds no token")
    for token in found:
        if len(token) < MIN_LETTERS or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError(f"must be at least {MIN_LETTERS} printable ASCII characters without spaces")
    return found


class Certificates:
    """A certificate, its key, and the authority that the other side's certificate must come from; PEM files."""

    def __init__(self, certificate: str, key: str, authority: str) -> None:
        """Raises ValueError for files that do not belong together, OSError for one that cannot be read."""
        if bool(certificate) != bool(key):
            raise ValueError("a certificate and its key belong together: set both")
        self.proves_the_caller = bool(authority)
        """Whether who calls must have a certificate too."""
        paths = tuple(Path(name) for name in (certificate, key, authority) if name)
        self._files = Reread(paths, lambda: _pem_files(certificate, key, authority))

    def __bool__(self) -> bool:
        return any(self._files.current())

    def current(self) -> tuple[bytes, bytes, bytes]:
        """Certificate chain, key and authorities; empty for those that are not set."""
        return self._files.current()

    def for_channel(self) -> grpc.ChannelCredentials:
        """What a client needs; a channel keeps to the files as they are now."""
        chain, key, authorities = self.current()
        return grpc.ssl_channel_credentials(authorities or None, key or None, chain or None)

    def for_server(self) -> grpc.ServerCredentials:
        """What a server needs; every new connection is served by the files as they are then."""
        served = self.current()

        def fetch() -> Any:  # None stands for "the same as before", which the types do not know
            nonlocal served
            before, served = served, self.current()
            return None if served == before else _for_server(served)

        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            _for_server(served), fetch, require_client_authentication=self.proves_the_caller
        )
        return credentials


def _for_server(files: tuple[bytes, bytes, bytes]) -> "grpc.ServerCertificateConfiguration":
    chain, key, authorities = files
    return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=authorities or None)


def _pem_files(*names: str) -> tuple[bytes, bytes, bytes]:
    chain, key, authorities = (Path(name).read_bytes() if name else b"" for name in names)
    if chain:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        if certificate.public_key() != _private_key(key).public_key():
            raise ValueError("the key is not that of the certificate")
    if authorities:
        x509.load_pem_x509_certificates(authorities)
    return chain, key, authorities


def _private_key(pem: bytes) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(pem, None)
    except (TypeError, UnsupportedAlgorithm):
        raise ValueError("the key is encrypted, or of a kind that is not known") from None
