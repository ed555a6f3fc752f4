"""What engines ask of torch: out of memory told apart, and memory that is really given back."""

import gc
import weakref
from typing import Any

import pytest
import torch

from atelier.contracts.errors import OutOfMemory
from shared.torch.runtime import free_memory, within_memory

CPU = torch.device("cpu")


def test_a_call_that_fits_returns_what_it_makes() -> None:
    assert within_memory(CPU, lambda: 5, "it") == 5


def test_too_little_memory_is_told_apart_and_its_tensors_are_let_go() -> None:
    held: list[Any] = []

    def fill() -> None:
        tensor = torch.zeros(8)
        held.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory, match="6 images of 64x64 do not fit into the memory of this worker") as caught:
        within_memory(CPU, fill, "6 images of 64x64")
    assert caught.value.__context__ is None
    assert held[0]() is None


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError):
        within_memory(CPU, lambda: 1 // 0, "it")


class Knot:
    """Refers to itself, as parts of models do."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_loaded_before_the_heap_was_frozen_is_freed_too() -> None:
    knot = Knot()
    gone = weakref.ref(knot)
    gc.freeze()
    try:
        del knot
        free_memory()
        assert gone() is None
    finally:
        gc.unfreeze()
