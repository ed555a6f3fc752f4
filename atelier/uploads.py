"""Sending a picture to the edge: what CreateUpload is told of it, and the PUT to the URL that it answers with."""

import hashlib
import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from urllib.parse import urlsplit

import httpcore2

from atelier.contracts.errors import TABLE
from atelier.contracts.media_types import sniff
from atelier.errors import AtelierError, EdgeUnreachable, Internal, InvalidRequest, Violation, reason_word
from atelier.pb.edge.v1 import edge_pb2

SECONDS = {"connect": 10.0, "read": 120.0, "write": 120.0}


@dataclass(frozen=True)
class Picture:
    """A picture, and what is said of it before it is sent."""

    data: bytes
    request: edge_pb2.CreateUploadRequest


def read(file: str | PathLike[str]) -> Picture:
    """Reads a picture. Raises OSError, and InvalidRequest for what is none."""
    data = Path(file).read_bytes()
    try:
        mime_type = sniff(data).mime_type
    except ValueError:
        raise InvalidRequest(Violation("file", f"{file} is no PNG, JPEG or WEBP picture")) from None
    digest = hashlib.sha256(data).hexdigest()
    return Picture(data, edge_pb2.CreateUploadRequest(mime_type=mime_type, bytes=len(data), sha256=digest))


async def send(url: str, picture: Picture) -> None:
    """Puts the bytes where the edge wants them. Raises the AtelierError that it answers, or EdgeUnreachable."""
    headers = [("Content-Type", picture.request.mime_type)]
    try:
        async with httpcore2.AsyncConnectionPool() as pool:
            answer = await pool.request(
                "PUT", url, headers=headers, content=picture.data, extensions={"timeout": SECONDS}
            )
    except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError):
        raise EdgeUnreachable(urlsplit(url).netloc) from None
    if answer.status != 201:
        raise _refusal(answer.content)


def _refusal(body: bytes) -> AtelierError:
    """The error that the edge wrote into its answer."""
    try:
        said = json.loads(body)["error"]
        reason, message = str(said["reason"]), str(said["message"])
    except (ValueError, KeyError, TypeError):
        return Internal("the edge refused the upload and did not say why")
    if reason == "INVALID_REQUEST":
        return InvalidRequest(Violation("", message))
    kinds = [kind for kind in TABLE if not issubclass(kind, InvalidRequest) and reason_word(kind("")) == reason]
    return kinds[0](message) if kinds else Internal(message)
