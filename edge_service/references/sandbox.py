"""Untrusted pictures: bytes -> a picture that is safe to give to a model.

Decoded by `decoder.py` in a process of its own, at most two at once. A thread would have been 0.1 s faster a picture,
but could not be stopped when a decoder hangs, would share the edge's memory with a bomb, and its secrets with code that
uses a hole in an image decoder. Its output goes to a file whose size the system limits, not to a pipe.
"""

import asyncio
import hashlib
import logging
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from edge_service.references import decoder

log = logging.getLogger(__name__)

MAX_BYTES = 32 * 2**20
AT_ONCE = 2
SECONDS = 20.0
UNDECODABLE = "takes too much time or memory to decode"
COMMAND = (sys.executable, "-I", decoder.__file__)


class InvalidImage(Exception):
    """No picture that is accepted. `why` continues a sentence about it and holds nothing of its bytes."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class Picture:
    """A PNG in RGB, upright, without metadata. Sides in pixels; `sha256` has 64 hexadecimal digits."""

    png: bytes
    width: int
    height: int
    sha256: str


class Decoders:
    """The processes that decode. `close` waits for none of them: each ends by itself within seconds."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "decode")

    async def safe(self, data: bytes) -> Picture:
        """The picture in `data`, made anew. Raises InvalidImage."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _decoded, data)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _decoded(data: bytes) -> Picture:
    with tempfile.TemporaryFile() as out:
        try:
            ended = subprocess.run(
                COMMAND,
                input=data,
                stdout=out,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                timeout=SECONDS,
                check=False,
            )
        except (subprocess.TimeoutExpired, BrokenPipeError):
            raise InvalidImage(UNDECODABLE) from None
        if ended.returncode:
            log.info("a picture was refused", extra={"code": ended.returncode})
            raise InvalidImage(decoder.REFUSALS.get(ended.returncode, UNDECODABLE))
        out.seek(0)
        png = out.read()
    # What the file says of itself right behind its signature: any PNG has its sides there.
    width, height = struct.unpack(">II", png[16:24])
    return Picture(png, width, height, hashlib.sha256(png).hexdigest())
