"""Pictures of strangers through the real decoder, in its process."""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from edge_service.references import decoder
from edge_service.references import sandbox as images
from edge_service.references.sandbox import Decoders, InvalidImage, Picture
from tests.kit.pictures import (
    chunk,
    corners,
    encoded,
    plain,
    png_of,
    profile_with_red_and_green_swapped,
    zeros,
)

NONE, LARGE, ANIMATED, BROKEN = decoder.REFUSALS.values()


@pytest.fixture(scope="module")
async def decoders() -> AsyncIterator[Decoders]:
    opened = Decoders()
    yield opened
    opened.close()


def opened(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.png))


def colours(picture: Picture) -> list[tuple[int, ...]]:
    """The colours of the four corners, rounded: a JPEG is not exact."""
    found = opened(picture)
    width, height = found.size
    corner = [(2, 2), (width - 3, 2), (2, height - 3), (width - 3, height - 3)]
    return [tuple(round(value / 255) * 255 for value in found.getpixel(at)) for at in corner]  # type: ignore[union-attr]


RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_comes_out_as_a_png_with_its_size(decoders: Decoders, form: str):
    safe = await decoders.safe(encoded(corners(), form, **({"quality": 95} if form != "PNG" else {})))
    assert opened(safe).format == "PNG"
    assert (opened(safe).mode, opened(safe).size, (safe.width, safe.height)) == ("RGB", (48, 32), (48, 32))
    assert colours(safe) == [RED, GREEN, BLUE, WHITE]


async def test_the_same_bytes_become_the_same_picture(decoders: Decoders):
    first, second = await asyncio.gather(decoders.safe(plain()), decoders.safe(plain()))
    assert first == second


# Where each corner of a picture stands once it is turned upright, by EXIF's orientation.
UPRIGHT = {
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
async def test_a_picture_is_turned_upright(decoders: Decoders, orientation: int, form: str):
    exif = Image.Exif()
    exif[0x0112] = orientation
    safe = await decoders.safe(encoded(corners(), form, exif=exif, **({"quality": 95} if form != "PNG" else {})))
    assert (safe.width, safe.height) == ((48, 32) if orientation < 5 else (32, 48))
    assert tuple(colours(safe)) == UPRIGHT[orientation]


@pytest.mark.parametrize("orientation", [0, 9, 65535])
async def test_an_orientation_that_is_none_is_upright(decoders: Decoders, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert colours(await decoders.safe(encoded(corners(), exif=exif))) == [RED, GREEN, BLUE, WHITE]


async def test_nothing_but_the_pixels_is_left(decoders: Decoders):
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    text = PngInfo()
    text.add_text("Comment", "a secret place")
    text.add_itxt("XML:com.adobe.xmp", "a secret place")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    sent = encoded(corners(), exif=exif, pnginfo=text, icc_profile=profile, dpi=(300, 300))
    assert sent.count(b"a secret place") == 3
    safe = await decoders.safe(sent)
    kinds = [kind for kind in (b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"iCCP", b"pHYs", b"tIME") if kind in safe.png]
    assert (kinds, opened(safe).info) == ([], {})
    assert b"secret" not in safe.png


async def test_colours_are_those_that_the_profile_means(decoders: Decoders):
    swapped = encoded(Image.new("RGB", (24, 16), "red"), icc_profile=profile_with_red_and_green_swapped())
    assert opened(await decoders.safe(swapped)).getpixel((0, 0)) == pytest.approx(GREEN, abs=3)
    nonsense = encoded(Image.new("RGB", (24, 16), (128, 128, 128)), icc_profile=b"nonsense" * 100)
    assert opened(await decoders.safe(nonsense)).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize(
    ("sent", "colour"),
    [
        (encoded(Image.new("RGBA", (24, 16), (0, 0, 0, 0))), WHITE),
        (encoded(Image.new("RGBA", (24, 16), (255, 0, 0, 128))), (255, 127, 127)),
        (encoded(Image.new("LA", (24, 16), (0, 128))), (127, 127, 127)),
        (encoded(Image.new("P", (24, 16), 0), transparency=0), WHITE),
        (encoded(Image.new("RGB", (24, 16), "red"), transparency=(255, 0, 0)), WHITE),
        (encoded(Image.new("RGBA", (24, 16), (0, 0, 0, 0)), "WEBP", lossless=True), WHITE),
        (encoded(Image.new("L", (24, 16), 200)), (200, 200, 200)),
        (encoded(Image.new("1", (24, 16), 1)), WHITE),
        (encoded(Image.new("I;16", (24, 16), 32896)), (128, 128, 128)),
        (encoded(Image.new("I;16", (24, 16), 65535)), WHITE),
        (encoded(Image.new("CMYK", (24, 16), (0, 255, 255, 0)), "JPEG"), (254, 0, 0)),
    ],
    ids=["nothing", "half", "grey half", "palette", "keyed", "webp", "grey", "bits", "deep", "deepest", "cmyk"],
)
async def test_whatever_the_mode_it_is_shown_as_people_see_it(decoders: Decoders, sent: bytes, colour: tuple[int, ...]):
    assert opened(await decoders.safe(sent)).getpixel((3, 3)) == pytest.approx(colour, abs=1)


async def test_a_picture_larger_than_any_job_is_made_as_large_as_the_largest(decoders: Decoders):
    for form in ("PNG", "JPEG"):
        safe = await decoders.safe(encoded(Image.new("RGB", (5000, 100), "red"), form))
        assert (safe.width, safe.height) == (4096, 82)


async def test_what_is_hidden_behind_a_picture_is_gone(decoders: Decoders):
    for tail in (b"PK\x03\x04" + b"zip" * 10, b"<html><script>alert(1)</script>", plain("blue"), b"%PDF-1.7"):
        safe = await decoders.safe(plain() + tail)
        assert tail not in safe.png
        assert safe.png.endswith(b"IEND\xaeB`\x82")
    hidden = png_of(1, 1, chunk(b"puNK", b"<?php echo 1 ?>"), pixels=zeros(0) or b"")
    with pytest.raises(InvalidImage, match=BROKEN):
        await decoders.safe(hidden)


async def test_the_second_picture_of_a_phone_is_no_animation(decoders: Decoders):
    sent = encoded(corners(), "MPO", save_all=True, append_images=[Image.new("RGB", (48, 32))], quality=95)
    assert colours(await decoders.safe(sent)) == [RED, GREEN, BLUE, WHITE]


FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (48, 32), "blue")], "duration": 100}
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"", NONE), (b"nothing", NONE), (b"\x89PNG\r\n\x1a\n", NONE), (b"\xff\xd8\xff", NONE),
        (b"RIFF\x00\x00\x00\x00WEBP", NONE), (SVG, NONE), (b"%!PS-Adobe-3.0 EPSF-3.0\n", NONE), (b"#!/bin/sh\n", NONE),
        (encoded(corners(), "GIF"), NONE), (encoded(corners(), "TIFF"), NONE), (encoded(corners(), "BMP"), NONE),
        (encoded(corners(), "ICO"), NONE), (encoded(corners(), "PPM"), NONE), (encoded(corners(), "AVIF"), NONE),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(100), NONE),
        (encoded(corners(), **FRAMES), ANIMATED), (encoded(corners(), "WEBP", **FRAMES), ANIMATED),
        (encoded(corners(400, 400))[:-200], BROKEN), (encoded(corners(400, 400), "JPEG")[:-1500], BROKEN),
        (plain()[:60], BROKEN), (png_of(64, 64), BROKEN), (png_of(64, 64, pixels=b"nonsense"), BROKEN),
        (png_of(64, 64, pixels=zeros(1)[:20]), BROKEN), (png_of(0, 64), NONE), (png_of(64, 0), NONE),
    ],
)  # fmt: skip
async def test_what_is_no_whole_still_picture_is_refused(decoders: Decoders, sent: bytes, why: str):
    with pytest.raises(InvalidImage) as refused:
        await decoders.safe(sent)
    assert refused.value.why == why


async def test_a_webp_that_is_cut_off_is_refused(decoders: Decoders):
    whole = encoded(corners(400, 400), "WEBP", lossless=True)
    for length in (40, len(whole) // 2, len(whole) - 4):
        with pytest.raises(InvalidImage):
            await decoders.safe(whole[:length])


PEAK = """
import os, sys
sys.path.insert(0, {folder!r})
import decoder
code = decoder.main()
sys.stdout.flush()
[peak] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
open({told!r}, "w").write(peak)
os._exit(code)
"""


@pytest.fixture
def peak_mb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """The most memory that the decoder took, in MB, as it says itself: what the system tells its parent counts both."""
    script, told = tmp_path / "measured.py", tmp_path / "peak"
    script.write_text(PEAK.format(folder=str(Path(decoder.__file__).parent), told=str(told)))
    monkeypatch.setattr(images, "COMMAND", (*images.COMMAND[:-1], str(script)))
    return lambda: int(told.read_text().split()[1]) / 1024


async def refusal(decoders: Decoders, sent: bytes) -> str:
    """Why a picture is refused; nothing if it is taken."""
    try:
        await decoders.safe(sent)
    except InvalidImage as refused:
        return refused.why
    return ""


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (png_of(2**31 - 1, 2**31 - 1), LARGE), (png_of(65500, 65500, pixels=zeros(4)), LARGE),
        (png_of(40_000_001, 1), LARGE), (encoded(Image.new("1", (8000, 5001))), LARGE),
        (encoded(Image.new("L", (16383, 2442)), "WEBP"), LARGE),
        # What is compressed into the chunks beside the pixels: 256 MB each.
        (png_of(8, 8, chunk(b"zTXt", b"a\x00\x00" + zeros(256)), pixels=zeros(1)), None),
        (png_of(8, 8, chunk(b"iCCP", b"a\x00\x00" + zeros(256)), pixels=zeros(1)), None),
        (png_of(8, 8, chunk(b"iTXt", b"a\x00\x01\x00\x00\x00" + zeros(256)), pixels=zeros(1)), None),
        # More pixels than the header has room for.
        (png_of(8, 8, pixels=zeros(256)), None),
        (png_of(8, 8, *[chunk(b"tEXt", b"a\x00" + b"x" * 900_000)] * 8, pixels=zeros(1)), None),
    ],
    ids=["sides", "zeros", "one too many", "bits", "webp", "zTXt", "iCCP", "iTXt", "IDAT", "tEXt"],
)  # fmt: skip
async def test_a_bomb_goes_off_in_bounded_memory(
    decoders: Decoders, peak_mb: Callable[[], float], sent: bytes, why: str | None
):
    assert len(sent) < 8 * 2**20
    assert (await refusal(decoders, sent)) in ((why,) if why else ("", NONE, BROKEN))
    assert peak_mb() < 150


async def test_forty_megapixels_are_taken_within_the_memory_that_is_promised(
    decoders: Decoders, peak_mb: Callable[[], float]
):
    sent = encoded(Image.new("RGBA", (8000, 5000), (255, 0, 0, 255)), compress_level=1)
    safe = await decoders.safe(sent)
    assert (safe.width, safe.height) == (4096, 2560)
    assert peak_mb() < 650


async def test_a_decoder_that_hangs_is_stopped(decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hanging = tmp_path / "hanging.py"
    hanging.write_text("import os, sys, time\nopen(sys.argv[1], 'w').write(str(os.getpid()))\ntime.sleep(600)")
    told = tmp_path / "pid"
    monkeypatch.setattr(images, "COMMAND", (*images.COMMAND[:-1], str(hanging), str(told)))
    monkeypatch.setattr(images, "SECONDS", 0.5)
    with pytest.raises(InvalidImage, match="too much time"):
        await decoders.safe(plain())
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


@pytest.mark.parametrize(
    "body", ["import os; os.abort()", "bytearray(4 << 30)", "while True: sys.stdout.buffer.write(bytes(1 << 20))"]
)
async def test_a_decoder_that_was_taken_over_harms_nobody(
    decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
):
    evil = tmp_path / "evil.py"
    limits = f"sys.path.insert(0, {str(Path(decoder.__file__).parent)!r}); import decoder; decoder._limit()"
    evil.write_text(f"import sys; {limits}\n{body}\n")
    monkeypatch.setattr(images, "COMMAND", (*images.COMMAND[:-1], str(evil)))
    with pytest.raises(InvalidImage, match="too much time or memory"):
        await decoders.safe(plain())


async def test_the_decoder_knows_nothing_of_the_edge(
    decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ATELIER_DATABASE_URL", "postgresql://secret")
    asking = tmp_path / "asking.py"
    asking.write_text(f"import os\nopen({str(tmp_path / 'seen')!r}, 'w').write(str(dict(os.environ)))\nos._exit(13)")
    monkeypatch.setattr(images, "COMMAND", (*images.COMMAND[:-1], str(asking)))
    with pytest.raises(InvalidImage):
        await decoders.safe(plain())
    assert "ATELIER" not in (tmp_path / "seen").read_text()
