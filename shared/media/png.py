"""PNG files that carry the parameters they were made with."""

import io
import json
from collections.abc import Mapping

from PIL import Image
from PIL.PngImagePlugin import PngInfo


def encode(image: Image.Image, parameters: Mapping[str, object]) -> bytes:
    """The picture as PNG, with the parameters as JSON in the text chunk "parameters"."""
    info, buffer = PngInfo(), io.BytesIO()
    info.add_text("parameters", json.dumps(parameters))
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, read from the file."""
    with Image.open(io.BytesIO(png)) as image:
        return image.size
