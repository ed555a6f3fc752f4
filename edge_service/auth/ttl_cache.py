"""A bounded cache whose entries each expire at a time of their own: `cachetools`, with types."""

import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from cachetools import TLRUCache

V = TypeVar("V")


class Expiring(NamedTuple, Generic[V]):
    """A value that is valid until a time of the cache's clock, in seconds."""

    value: V
    until: float


class TtlCache(TLRUCache[str, Expiring[V]]):
    """At most `maxsize` entries; the least recently used goes first. An expired entry is as good as none."""

    def __init__(self, maxsize: int, clock: Callable[[], float] = lambda: time.monotonic()) -> None:
        super().__init__(maxsize, ttu=lambda key, entry, now: entry.until, timer=clock)
