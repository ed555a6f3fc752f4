"""Pictures of all kinds, as strangers send them."""

import io
import struct
import zlib
from functools import cache
from typing import Any

from PIL import Image


def encoded(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def corners(width: int = 48, height: int = 32) -> Image.Image:
    """Red, green, blue and white, one in each corner from the upper left on."""
    picture = Image.new("RGB", (width, height))
    half_width, half_height = width // 2, height // 2
    for index, colour in enumerate(("red", "lime", "blue", "white")):
        left, top = index % 2 * half_width, index // 2 * half_height
        picture.paste(colour, (left, top, left + half_width, top + half_height))
    return picture


def plain(colour: str = "red", form: str = "PNG") -> bytes:
    """A small picture of one colour."""
    return encoded(Image.new("RGB", (24, 16), colour), form)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, *more: bytes, pixels: bytes = b"", colour_type: int = 2) -> bytes:
    """A PNG written chunk by chunk, so that it may lie."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@cache
def zeros(megabytes: int) -> bytes:
    """Compressed nothing: a thousand times larger than it looks."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes)) + packer.flush()


def profile_with_red_and_green_swapped() -> bytes:
    """An ICC profile: sRGB's primaries, each of the first two in the place of the other."""
    green, red, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    points = {b"wtpt": (0.9642, 1.0, 0.8249), b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
    tags = {name: b"XYZ \0\0\0\0" + _fixed(*values) for name, values in points.items()}
    tags |= {name: b"curv\0\0\0\0" + struct.pack(">IHxx", 1, 0x0233) for name in (b"rTRC", b"gTRC", b"bTRC")}
    table, bodies, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", offset + len(bodies), len(body))
        bodies += body
    head = struct.pack(">I4sI4s4s4s", offset + len(bodies), b"", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + _fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + table + bodies


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)
