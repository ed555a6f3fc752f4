"""What every engine asks of torch: where to run, in which number format, and how much memory there is.

Like the services' own `engine.py`, and nothing else in the house, it imports torch.
"""

import torch

from shared.errors import ModelUnusable


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


def peak_memory_mb(device: torch.device) -> int:
    """The most memory of the device that this process has used, in MB; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) // 2**20 if device.type == "cuda" else 0


def device_memory_mb(device: torch.device) -> tuple[int, int]:
    """The device's memory in MB: used by all processes, total. (0, 0) on a CPU."""
    if device.type != "cuda":
        return 0, 0
    free, total = torch.cuda.mem_get_info(device)
    return (total - free) // 2**20, total // 2**20
