"""Latents of scenes already drawn and encoded, on disk: each serves several steps, with new noise and a new caption."""

from pathlib import Path
from typing import Final

import numpy as np

NOTHING: Final[int] = -1


class LatentPool:
    """The last `capacity` latents of one picture size, as float16, with the seeds of their scenes."""

    def __init__(self, folder: Path, name: str, shape: tuple[int, ...], capacity: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._capacity = capacity
        self._latents = _array(folder / f"{name}-latents.npy", (capacity, *shape), np.float16, 0)
        self._seeds = _array(folder / f"{name}-seeds.npy", (capacity,), np.int64, NOTHING)
        self._added = _array(folder / f"{name}-added.npy", (1,), np.int64, 0)

    def __len__(self) -> int:
        return min(int(self._added[0]), self._capacity)

    def add(self, seeds: np.ndarray, latents: np.ndarray) -> None:
        """Take these in; the oldest go once the pool is full."""
        for seed, latent in zip(seeds, latents, strict=True):
            slot = int(self._added[0]) % self._capacity
            self._latents[slot], self._seeds[slot] = latent, seed
            self._added[0] += 1

    def sample(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the seeds and latents (float32) of `count` scenes by chance."""
        slots = rng.integers(len(self), size=count)
        return np.asarray(self._seeds[slots]), np.asarray(self._latents[slots], np.float32)


def _array(file: Path, shape: tuple[int, ...], dtype: type[np.generic], fill: int) -> np.memmap:
    """The array in `file`, made when it is not there or of another shape."""
    if file.exists():
        kept = np.load(file, mmap_mode="r+")
        if kept.shape == shape:
            return kept  # type: ignore[no-any-return]
    array = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    array[:] = fill
    return array
