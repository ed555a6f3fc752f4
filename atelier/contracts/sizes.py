"""Sizes of pictures that a model can make. Workers check jobs against them, the edge checks requests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Sizes(Protocol):
    """What bounds a picture, in pixels; 0 is no bound. A worker's model, or the description that one sent."""

    @property
    def size_multiple(self) -> int: ...
    @property
    def min_side(self) -> int: ...
    @property
    def max_pixels(self) -> int: ...


@dataclass(frozen=True)
class CommonSizes:
    """What every size must keep to that one of several models takes; 0 where one of them has no such bound."""

    size_multiple: int
    min_side: int
    max_pixels: int

    @classmethod
    def of(cls, models: Sequence[Sizes]) -> "CommonSizes":
        """The bounds that these models share. Without models there are none."""
        multiple = math.gcd(*(model.size_multiple for model in models))
        is_bounded = models and all(model.max_pixels for model in models)
        return cls(
            0 if any(model.size_multiple == 0 for model in models) else multiple,
            min((model.min_side for model in models), default=0),
            max(model.max_pixels for model in models) if is_bounded else 0,
        )

    def sides(self, least: int, most: int) -> tuple[int, int]:
        """`least` and `most` of a side, narrowed to what any size within these bounds can have."""
        multiple = self.size_multiple or 1
        least = -(-max(least, self.min_side) // multiple) * multiple
        most = min(most, self.max_pixels // least) if self.max_pixels else most
        return least, most // multiple * multiple


def size_problem(width: int, height: int, sizes: Sizes) -> str | None:
    """The bound that a size in pixels breaks, with the size given; None if it breaks none."""
    given = f"got {width}x{height}"
    if sizes.size_multiple and (width % sizes.size_multiple or height % sizes.size_multiple):
        return f"both sides must be multiples of {sizes.size_multiple}, {given}"
    if min(width, height) < sizes.min_side:
        return f"both sides must be at least {sizes.min_side}, {given}"
    if sizes.max_pixels and width * height > sizes.max_pixels:
        return f"width x height must be at most {sizes.max_pixels} pixels, {given}"
    return None
