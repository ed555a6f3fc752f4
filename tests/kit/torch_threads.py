"""How many threads torch computes with, which it keeps for each calling thread."""

from functools import partial
from typing import Any

import torch


def compute_with_one_thread(engine: Any) -> None:
    """Has the threads of a diffusion engine compute alone.

    Small tensors are slower on many, above all while others want the same cores; and only what is computed with as
    many is the same to the bit.
    """
    for thread in (engine._loop._thread, engine._loop._beside):
        thread.submit(partial(torch.set_num_threads, 1)).result()
