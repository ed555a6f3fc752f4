"""A page in a browser, as far as the proxy can tell: gRPC-Web over plain HTTP/1.1, nothing of gRPC's own."""

import base64
import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import unquote

from google.protobuf.message import Message
from google.rpc import status_pb2

M = TypeVar("M", bound=Message)
TRAILERS = 0x80
ASKED_HEADERS = "authorization,content-type,grpc-timeout,x-grpc-web,x-user-agent"


@dataclass(frozen=True)
class Page:
    """A page from `origin` that calls the proxy at `address`."""

    address: str
    origin: str = "http://localhost:5173"
    token: str = ""
    text: bool = False

    def preflight(self, method: str) -> http.client.HTTPResponse:
        """What a browser asks before it lets the page call."""
        headers = {
            "Origin": self.origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": ASKED_HEADERS,
        }
        response = self._request("OPTIONS", method, b"", headers)
        response.read()
        return response

    def call(self, method: str, request: Message | bytes) -> "Answer":
        """One RPC; `method` is `/package.Service/Method`, bytes are sent as the message's whatever they are."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        frame = b"\0" + len(data).to_bytes(4, "big") + data
        return self.post(method, base64.b64encode(frame) if self.text else frame)

    def post(self, method: str, body: bytes) -> "Answer":
        """What `call` sends, with any body."""
        kind = "application/grpc-web-text" if self.text else "application/grpc-web+proto"
        headers = {"Origin": self.origin, "Content-Type": kind, "Accept": kind, "X-Grpc-Web": "1"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return Answer(self._request("POST", method, body, headers), self.text)

    def _request(self, verb: str, path: str, body: bytes, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.address, timeout=20)
        # With it the response owns the socket and closes it after its last byte.
        connection.request(verb, path, body, {**headers, "Connection": "close"})
        return connection.getresponse()


class Answer:
    """The answer to one RPC, read as it arrives."""

    def __init__(self, response: http.client.HTTPResponse, text: bool) -> None:
        self.response, self._text, self._decoded = response, text, b""
        self.trailers_in_body: dict[str, str] = {}

    def messages(self, kind: type[M]) -> Iterator[M]:
        """Yields each message once it is there; afterwards the trailers are."""
        while head := self._read(5):
            data = self._read(int.from_bytes(head[1:], "big"))
            if head[0] & TRAILERS:
                lines = (line.partition(":") for line in data.decode().split("\r\n") if line)
                self.trailers_in_body = {name.strip().lower(): value.strip() for name, _, value in lines}
            else:
                yield kind.FromString(data)

    @property
    def code(self) -> int:
        return int(self._ending("grpc-status"))

    @property
    def message(self) -> str:
        return unquote(self._ending("grpc-message"))

    @property
    def details(self) -> status_pb2.Status:
        """The google.rpc.Status, as a page reads it."""
        return status_pb2.Status.FromString(base64.b64decode(self._ending("grpc-status-details-bin") + "=="))

    def _ending(self, name: str) -> str:
        """A trailer: from the body, or among the headers where there was no message before the error."""
        return self.trailers_in_body.get(name) or self.response.headers[name]

    def _read(self, size: int) -> bytes:
        if not self._text:
            return self.response.read(size)
        while len(self._decoded) < size and (quantum := self.response.read(4)):
            self._decoded += base64.b64decode(quantum)
        taken, self._decoded = self._decoded[:size], self._decoded[size:]
        return taken
