"""Objects take a colour and keep their light, shade and eyes."""

import colorsys

import numpy as np
import pytest

from training.sprites import recoloured
from training.words import COLOURS


def sprite() -> np.ndarray:
    """An orange square with a darker half, a black eye and a transparent edge."""
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[2:14, 2:14] = (250, 150, 40, 255)
    picture[2:14, 8:14] = (180, 100, 20, 255)
    picture[4:6, 4:6] = (10, 10, 10, 255)
    return picture


@pytest.mark.parametrize("colour", COLOURS)
def test_the_body_has_the_colours_hue(colour: str) -> None:
    body = recoloured(sprite(), COLOURS[colour])[7, 4, :3] / 255
    hue, wanted = (colorsys.rgb_to_hsv(*rgb)[0] for rgb in (body, np.array(COLOURS[colour]) / 255))
    assert abs(hue - wanted) < 0.03 or abs(hue - wanted) > 0.97


def test_eyes_shade_and_edge_stay() -> None:
    made = recoloured(sprite(), COLOURS["blue"])
    assert (made[4, 4, :3] == 10).all()
    assert made[7, 10, :3].sum() < made[7, 4, :3].sum()
    assert (made[..., 3] == sprite()[..., 3]).all()


def test_a_white_body_takes_the_colour_too() -> None:
    white = np.full((8, 8, 4), 255, np.uint8)
    assert np.ptp(recoloured(white, COLOURS["red"])[4, 4, :3].astype(int)) > 100
