"""A rolling restart under load: with the client library's retries no call fails, and watches go on."""

import asyncio

from benchmarks.chaos.faults import Scene, roll_edges, roll_worker
from benchmarks.chaos.load import REACHED, Load, Mix
from benchmarks.chaos.scenario import Bench, Outcome, settle
from benchmarks.chaos.stack import Shape

MAX_SECONDS = 300.0


async def rolling(bench: Bench) -> Outcome:
    """Every edge in turn by SIGTERM, and a worker, while clients work."""
    outcome, rounds, rate = Outcome("rolling restart"), bench.pick(1, 10), bench.pick(6, 10)
    draw = bench.random("rolling")
    async with bench.stack(Shape(chat_workers=2, chat_slots=4)) as stack:
        load = Load(stack, draw, Mix(seconds=(0.05, 0.8), images=0), ["admin-0", "admin-1"])
        scene = Scene(stack, bench.postgres, draw)
        feeding = asyncio.create_task(load.run(rate, MAX_SECONDS))
        await asyncio.sleep(1)
        for _ in range(rounds):
            await roll_edges(scene)
            await roll_worker(scene)
        feeding.cancel()
        errors = await load.ended()
        await settle(stack, outcome)
        failed = stack.history.failures()
        resumed = sum(watch.connections > 1 for watch in stack.history.watches)
        outcome.figures |= {
            "restarts": str(len(scene.struck)),
            "failed calls": str(len(failed)),
            "resumed watches": str(resumed),
        }
        outcome.must(not failed, "no call fails", "; ".join(entry.line() for entry in failed[:3]))
        outcome.must(not errors, "clients are told nothing else", "; ".join(errors[:3]))
        outcome.must_be_valid(load.reached() >= REACHED, f"only {load.reached():.0%} of the load were accepted in time")
    return outcome
