"""Everything at once: a stated load, and every fault in an order drawn from the seed."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from benchmarks.chaos.faults import KINDS, Scene, Struck, strike
from benchmarks.chaos.history import History
from benchmarks.chaos.load import REACHED, Load, Mix
from benchmarks.chaos.receiver import Receiver, receiving
from benchmarks.chaos.scenario import Bench, Outcome, settle
from benchmarks.chaos.stack import Shape
from benchmarks.chaos.store import Final

# Of a short run: what is frozen, or waits for what is, may hold up the others.
MIN_KINDS = 5


async def mixed(bench: Bench) -> Outcome:
    """Clients submit, watch, leave, come back, cancel and repeat while edges, workers and the database fail."""
    outcome, draw = Outcome("all faults under load"), bench.random("mixed")
    seconds, rate = (26.0, 4.0) if bench.short else (bench.minutes * 60, 6.0)
    # Long runs freeze and restart workers so often that two alone would fall behind, and a queue is not what is tested.
    shape = Shape(edges=2, chat_workers=2, chat_slots=3, sdxl_workers=bench.pick(2, 4))
    async with receiving() as receiver, bench.stack(shape) as stack:
        load = Load(stack, draw, Mix(poison=0.01), ["admin-0", "admin-1", "admin-2", "premium-0"], receiver)
        await load.learn_secrets()
        scene = Scene(stack, bench.postgres, draw)
        feeding = asyncio.create_task(load.run(rate, seconds))
        await strike(scene, seconds, (0.3, 1.5) if bench.short else (1, 8))
        await feeding
        errors = await load.ended()
        final = await settle(stack, outcome)
        for job_id, what in receiver.wrong(final):
            outcome.broken("callbacks tell what is so", what, job_id)
        ends = Counter(f"{entry.operation} {entry.error[:70]}" for entry in stack.history.failures())
        outcome.figures |= {
            "stated load": f"{load.stated} jobs in {seconds:.0f} s",
            "accepted in time": f"{load.reached():.0%}",
            "calls that failed first": ", ".join(f"{count} x {error}" for error, count in ends.items()) or "0",
            "resumed watches": str(sum(watch.connections > 1 for watch in stack.history.watches)),
            "callbacks": _callbacks(receiver, final),
            "engine runs": str(sum(note.what == "started" for note in stack.notes())),
        }
        outcome.figures |= _times(scene.struck, stack.history)
        outcome.must(not errors, "clients are told nothing else", "; ".join(errors[:3]))
        outcome.must_be_valid(load.reached() >= REACHED, f"only {load.reached():.0%} of the load were accepted in time")
        kinds = len({struck.name for struck in scene.struck})
        outcome.must_be_valid(kinds >= (MIN_KINDS if bench.short else KINDS), f"only {kinds} kinds of faults happened")
    return outcome


def _callbacks(receiver: Receiver, final: Final) -> str:
    came = sum(map(len, receiver.statuses.values()))
    rows = [row["state"] for job in final.jobs.values() for row in job.outbox]
    return f"{came} came for {len(rows)}, of which {rows.count('pending')} are still to be sent"


def _times(struck: Sequence[Struck], history: History) -> dict[str, str]:
    """When each fault was done and when calls failed, in seconds since the first call."""
    began = history.entries[0].started
    found: dict[str, list[str]] = {}
    for one in struck:
        found.setdefault(one.name, []).append(f"{one.victim} {one.at - began:.1f}")
    for entry in history.failures():
        found.setdefault(f"{entry.operation} {entry.error.partition(':')[0]}", []).append(f"{entry.ended - began:.1f}")
    return {name: f"{len(times)}: {', '.join(times[:12])}" for name, times in found.items()}
