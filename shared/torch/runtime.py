"""What every engine asks of torch: where to run, in which number format, and how much memory there is."""

import gc
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import torch

from atelier.contracts.errors import ModelUnusable, OutOfMemory
from shared.worker.engine import Memory

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
    """What `call` returns. Raises OutOfMemory, saying that `what` does not fit, in place of torch's error."""
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


def placed(pipeline: Any, device: torch.device, offload: bool) -> Any:
    """A pipeline on its device, or offloaded: in main memory but for the part that works. Raises ModelUnusable."""
    if not offload:
        return pipeline.to(device)
    if device.type == "cpu":
        raise ModelUnusable("ATELIER_CPU_OFFLOAD: there is nothing to offload from when the device is cpu")
    pipeline.enable_model_cpu_offload(device=device)
    return pipeline


def reset_peak_memory(device: torch.device) -> None:
    """Counts the peak of the memory anew from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_mb(device: torch.device) -> int:
    """The most memory of the device that this process has used, in MB; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) // 2**20 if device.type == "cuda" else 0


def device_memory(device: torch.device) -> Memory:
    """The device's memory; zero on a CPU."""
    if device.type != "cuda":
        return Memory(0, 0)
    free, total = torch.cuda.mem_get_info(device)
    return Memory((total - free) // 2**20, total // 2**20)


def free_memory() -> None:
    """Gives back to the device what nothing refers to any more."""
    # A service takes what it has loaded at start out of collection. It is not taken out again: what belongs to jobs
    # that run now could never be collected.
    gc.unfreeze()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
