"""PNG files carry what they were made with, in any script."""

import io
import json

from PIL import Image

from shared.media import png


def test_parameters_and_size_are_read_back_from_the_file() -> None:
    parameters = {"prompt": "ein rotes Boot \0 \u8d64\u3044\u821f", "steps": 3, "guidance_scale": 7.5}
    made = png.encode(Image.new("RGB", (72, 64), "red"), parameters)
    assert png.size(made) == (72, 64)
    with Image.open(io.BytesIO(made)) as image:
        assert image.format == "PNG"
        assert json.loads(image.info["parameters"]) == parameters
        assert image.getpixel((3, 3)) == (255, 0, 0)
