"""An image through the whole platform against the bare pipeline, in one run: same model, same settings, same threads.

    python -m benchmarks.image [--rounds 5] [--model FOLDER]

The baseline is a process that has the pipeline loaded, calls it and writes a PNG. The platform is everything: edge,
PostgreSQL, worker, asset store, and a client that waits for the job's end. Rounds alternate; medians are printed.
"""

import argparse
import asyncio
import io
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from atelier.client import AsyncClient
from atelier.launcher.programs import Plan
from atelier.launcher.stack import opened
from atelier.small_models import ensure

PROMPT = "a red fox in the snow, golden evening light"
STEPS, GUIDANCE, SIDE = 25, 7.5, 1024


def bare(pipe: Any, model: str, threads: int) -> None:
    """Loads the pipeline, then answers each message with the seconds that one image took."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    torch.set_num_threads(threads)
    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda else torch.float32
    pipeline = StableDiffusionXLPipeline.from_pretrained(model, torch_dtype=dtype, use_safetensors=True)
    pipeline.to("cuda" if cuda else "cpu").set_progress_bar_config(disable=True)
    pipe.send("ready")
    while (seed := pipe.recv()) is not None:
        began = time.perf_counter()
        generator = torch.Generator("cpu").manual_seed(seed)
        images = pipeline(
            PROMPT, negative_prompt="", num_inference_steps=STEPS, guidance_scale=GUIDANCE, width=SIDE, height=SIDE,
            generator=generator,
        ).images  # fmt: skip
        images[0].save(io.BytesIO(), "PNG")
        pipe.send(time.perf_counter() - began)


async def platform(client: AsyncClient, seed: int) -> float:
    began = time.perf_counter()
    await client.image(PROMPT, steps=STEPS, guidance_scale=GUIDANCE, resolution=f"{SIDE}x{SIDE}", seed=seed)
    return time.perf_counter() - began


async def main(rounds: int, model: str) -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the launcher sets it for the platform's worker
    here, there = multiprocessing.get_context("spawn").Pipe()
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    child = multiprocessing.get_context("spawn").Process(target=bare, args=(there, model, threads), daemon=True)
    child.start()
    await asyncio.to_thread(here.recv)
    seconds: dict[str, list[float]] = {"bare pipeline": [], "platform": []}
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(Path(folder), models={"sdxl": model})
        async with opened(plan, lambda name, line: None) as stack, stack.client() as client:
            for seed in range(rounds + 1):
                here.send(seed)
                baseline = await asyncio.to_thread(here.recv)
                measured = await platform(client, seed)
                if seed:  # the first round warms both up
                    seconds["bare pipeline"].append(baseline)
                    seconds["platform"].append(measured)
                    print(f"round {seed}: bare {baseline:.2f} s, platform {measured:.2f} s", flush=True)
    here.send(None)
    child.join(10)
    bare_median, platform_median = (statistics.median(values) for values in seconds.values())
    print(f"bare pipeline {bare_median:.2f} s, platform {platform_median:.2f} s an image")
    print(f"platform has {bare_median / platform_median:.1%} of the bare pipeline's speed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="images of each; the median counts")
    parser.add_argument("--model", default="", help="folder of an SDXL model; default: the small one")
    options = parser.parse_args()
    asyncio.run(main(options.rounds, options.model or str(ensure(["sdxl"])["sdxl"])))
