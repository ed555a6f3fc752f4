"""What was found out lately: at most so many entries, the longest unused go first, and none for longer than it may."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Remembered(Generic[V]):
    """Values by key, each until a time of its own. `clock` counts seconds and never goes back."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._found: OrderedDict[str, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: str) -> V | None:
        """The value, unless there is none or its time is over."""
        found = self._found.get(key)
        if found is None:
            return None
        if found[0] <= self._clock():
            del self._found[key]
            return None
        self._found.move_to_end(key)
        return found[1]

    def put(self, key: str, value: V, until: float) -> None:
        """Remembers it until this time of the clock."""
        self._found[key] = until, value
        self._found.move_to_end(key)
        if len(self._found) > self._most:
            self._found.popitem(last=False)

    def forget(self, key: str) -> None:
        self._found.pop(key, None)

    def forget_all(self) -> None:
        self._found.clear()
