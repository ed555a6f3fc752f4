"""A program: any bytes on standard input -> a picture that is safe to give to a model, on standard output.

`sandbox.py` runs it as a process of its own, by path, in an empty environment. Decoders are C code on untrusted bytes:
here they cannot crash the edge, read its secrets or keep its memory, and a process, unlike a thread, can be stopped.
It imports nothing of ours, so that it starts in a tenth of a second.

Output: a PNG in RGB, upright, without metadata. Exit code 0, or one of `REFUSALS`; any other means that it broke.
"""

import contextlib
import io
import os
import resource
import struct
import sys

from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 40_000_000
# The longest side a job's picture may have: a model never sees a reference larger than that.
MAX_SIDE = 4096
MEMORY_BYTES, OUTPUT_BYTES, CPU_SECONDS = 1024 * 2**20, 64 * 2**20, 15
REFUSALS = {
    10: "is no PNG, JPEG or WEBP picture",
    11: f"has more than {MAX_PIXELS} pixels",
    12: "is animated; give one picture",
    13: "is broken or cut off",
}
NOT_A_PICTURE, TOO_MANY_PIXELS, ANIMATED, BROKEN = REFUSALS
# 16 bits of grey, as files with one channel have them.
DEEP_GREYS = ("I", "I;16", "I;16B", "I;16L", "F")


# What Pillow raises for a file that is not what it says.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, TypeError, struct.error)


class Refused(Exception):
    """A picture that is not taken; carries the exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def safe(data: bytes) -> bytes:
    """The picture anew, with nothing of its file but the pixels. Raises Refused."""
    picture = _opened(data)
    picture.draft(None, (MAX_SIDE, MAX_SIDE))  # a JPEG that is far larger is decoded smaller
    try:
        picture.load()
    except UNREADABLE:
        raise Refused(BROKEN) from None
    orientation, profile = _orientation(picture), picture.info.get("icc_profile")
    coloured = _in_colour(picture)
    coloured.thumbnail((MAX_SIDE, MAX_SIDE))
    flat = _on_white(_in_srgb(coloured, profile))
    out = io.BytesIO()
    _clean(_upright(flat, orientation)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _opened(data: bytes) -> Image.Image:
    """Reads the header alone."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UNREADABLE:
        raise Refused(NOT_A_PICTURE) from None
    if picture.width * picture.height > MAX_PIXELS:
        raise Refused(TOO_MANY_PIXELS)
    # Phones put a second picture behind the first (MPO), which is no animation.
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) != 1:
        raise Refused(ANIMATED)
    return picture


def _orientation(picture: Image.Image) -> int:
    """Which way up it is, 1 to 8 as EXIF counts; 1, upright, where that cannot be read."""
    with contextlib.suppress(*UNREADABLE):
        found = picture.getexif().get(0x0112, 1)
        return found if found in range(1, 9) else 1
    return 1


def _in_colour(picture: Image.Image) -> Image.Image:
    """The picture as RGB, RGBA or CMYK: grey of 16 bits would otherwise be clipped, not scaled."""
    if picture.mode in DEEP_GREYS:
        return picture.point(lambda value: value * (1 / 257), "F").convert("L").convert("RGB")
    wanted = "RGBA" if picture.has_transparency_data else "RGB"
    return picture if picture.mode in (wanted, "CMYK") else picture.convert(wanted)


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The colours that the profile means; a profile that cannot be used counts as none."""
    alpha = picture.getchannel("A") if picture.mode == "RGBA" else None
    opaque = picture.convert("RGB") if alpha else picture
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(opaque, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            opaque = converted or opaque
    opaque = opaque.convert("RGB")
    if alpha:
        opaque.putalpha(alpha)
    return opaque


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    picture.getexif()[0x0112] = orientation
    return ImageOps.exif_transpose(picture)


def _clean(picture: Image.Image) -> Image.Image:
    """The pixels alone, without the metadata that a decoder keeps of the file."""
    return Image.frombytes("RGB", picture.size, picture.tobytes())


def _limit() -> None:
    """What even a decoder that was taken over cannot exceed. Lower priority than the edge's own work."""
    with contextlib.suppress(ValueError, OSError):  # macOS has no limit of this kind
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_BYTES, OUTPUT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)


def main() -> int:
    """Runs the program."""
    _limit()
    Image.MAX_IMAGE_PIXELS = None  # checked above, and not by a warning
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**20
    try:
        made = safe(sys.stdin.buffer.read())
    except Refused as refused:
        return refused.code
    sys.stdout.buffer.write(made)
    return 0


if __name__ == "__main__":
    # Straight out: nothing of the interpreter's end is needed, and after a MemoryError it may not come.
    with contextlib.suppress(MemoryError):
        code = main()
        sys.stdout.flush()
        os._exit(code)
    os._exit(1)
