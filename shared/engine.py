"""What every engine asks of torch: where to run, in which number format, and how much memory there is.

Like the services' own `engine.py`, and nothing else in the stack, it imports torch.
"""

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import torch

from atelier.contracts.errors import ModelUnusable, OutOfMemory

ResultT = TypeVar("ResultT")


def choose_device(wanted: str) -> torch.device:
    """The device of a name such as "cuda:1"; "auto" takes the GPU if there is one. Raises ModelUnusable."""
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ModelUnusable(f"ATELIER_DEVICE is {wanted}, but torch sees no CUDA device")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The format of a name such as "float16"; "auto" is bfloat16 on a GPU and float32 on a CPU."""
    if wanted == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype = getattr(torch, wanted)
    assert isinstance(dtype, torch.dtype)
    return dtype


def within_memory(device: torch.device, call: Callable[[], ResultT], what: str) -> ResultT:
    """What `call` returns, with the peak of the memory counted anew. Raises OutOfMemory for `what` does not fit."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        return call()
    except torch.OutOfMemoryError:
        # Only left the block does the error's traceback let go of the tensors that filled the memory.
        pass
    torch.cuda.empty_cache()
    raise OutOfMemory(f"{what} do not fit into the memory of this worker")


def quieten(*libraries: ModuleType) -> None:
    """Keeps what diffusers and transformers would print while loading out of a service's log."""
    for library in libraries:
        library.utils.logging.set_verbosity(logging.CRITICAL)  # errors come as exceptions too
        library.utils.logging.disable_progress_bar()


def offload(pipeline: Any, device: torch.device) -> None:
    """Keeps the parts of a pipeline in main memory but for the one that works. Raises ModelUnusable on a CPU."""
    if device.type == "cpu":
        raise ModelUnusable("ATELIER_CPU_OFFLOAD: there is nothing to offload from when the device is cpu")
    pipeline.enable_model_cpu_offload(device=device)


def peak_memory_mb(device: torch.device) -> int:
    """The most memory of the device that this process has used, in MB; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) // 2**20 if device.type == "cuda" else 0


def device_memory_mb(device: torch.device) -> tuple[int, int]:
    """The device's memory in MB: used by all processes, total. (0, 0) on a CPU."""
    if device.type != "cuda":
        return 0, 0
    free, total = torch.cuda.mem_get_info(device)
    return (total - free) // 2**20, total // 2**20
