"""How soon work goes on: after the death or the freezing of an edge or a worker, one at a time, under load."""

import asyncio
import signal
from collections.abc import Sequence

from benchmarks.chaos.faults import FREEZE_SECONDS
from benchmarks.chaos.load import Load, Mix
from benchmarks.chaos.scenario import Bench, Outcome, percentile, settle
from benchmarks.chaos.stack import Process, Shape, Stack, now
from benchmarks.chaos.work import Note

LEASE_SECONDS, PROMISED_SECONDS = 10.0, 12.0
# Between two faults the stack comes to rest.
RESPITE_SECONDS = 2.0
# On a loaded machine everything takes a little longer than promised.
SLACK_SECONDS = 0.5


async def recovery(bench: Bench) -> Outcome:
    """Kills, and in long runs freezes; every job that ran there runs again within lease + 2 s."""
    outcome = Outcome("recovery")
    rate, rounds = 2.5, bench.pick(1, 6)
    faults = FAULTS[:2] if bench.short else FAULTS
    # Slots enough that one worker alone carries the load: else the time would be that of a queue, not of the recovery.
    async with bench.stack(Shape(edges=2, chat_workers=2, chat_slots=8)) as stack:
        load = Load(stack, bench.random("recovery"), MIX, ["admin-0", "admin-1", "premium-0"])
        found: dict[str, list[float]] = {}
        feeding = asyncio.create_task(load.run(rate, rounds * ROUND_SECONDS))
        await asyncio.sleep(2)
        for number in range(rounds):
            for name, victims, stop in faults:
                victim = (stack.edges if victims == "edge" else stack.workers)[number % 2]
                found.setdefault(f"{name} {victims}", []).extend(await _struck_at_work(stack, victim, stop))
        feeding.cancel()
        errors = await load.ended()
        await settle(stack, outcome)
    outcome.must(not errors, "clients are told nothing else", "; ".join(errors[:3]))
    for name, times in found.items():
        outcome.figures[f"running again after {name}"] = (
            f"p50 {percentile(times, 0.5):.1f} s, max {max(times, default=float('nan')):.1f} s of {len(times)} jobs"
        )
        outcome.must_be_valid(bool(times), f"no job ran on a victim of {name}")
        worst = max(times, default=0)
        outcome.must(worst <= PROMISED_SECONDS + SLACK_SECONDS, "resumed within lease + 2 s", f"{name}: {worst:.1f} s")
    return outcome


# Long jobs, so that a victim has some.
MIX = Mix(seconds=(1.0, 3.0), images=0, cancelled=0, repeated=0.2, left=0.5, failing=0, retried=0)
FAULTS = (
    ("kill -9", "worker", signal.SIGKILL),
    ("kill -9", "edge", signal.SIGKILL),
    ("SIGSTOP", "worker", signal.SIGSTOP),
    ("SIGSTOP", "edge", signal.SIGSTOP),
)
# What a round may take; the load goes on for as long.
ROUND_SECONDS = 60.0
MAX_WAIT_SECONDS = 20.0
MAX_STRIKES = 3


async def _struck_at_work(stack: Stack, victim: Process, stop: signal.Signals) -> list[float]:
    """The same as `_struck`, of a victim that had work: which edge a job is with is up to chance."""
    for _ in range(MAX_STRIKES):
        if times := await _struck(stack, victim, stop):
            return times
    return []


async def _struck(stack: Stack, victim: Process, stop: signal.Signals) -> list[float]:
    """Strikes, waits until all that ran then has gone on, and returns how long it took the jobs that had to."""
    running, at = _running(stack), now()
    victim.signal(stop)
    if stop is signal.SIGSTOP:
        await asyncio.sleep(FREEZE_SECONDS)
        victim.signal(signal.SIGCONT)
    while now() < at + MAX_WAIT_SECONDS and not _went_on(running, stack.notes(), at):
        await asyncio.sleep(0.2)
    await asyncio.sleep(RESPITE_SECONDS)
    return _times(running, stack.notes(), at)


def _went_on(running: Sequence[Note], notes: Sequence[Note], at: float) -> bool:
    on = {note.tag for note in notes if note.at > at and note.what in ("started", "done")}
    return all(note.tag in on for note in running)


def _running(stack: Stack) -> list[Note]:
    """The calls that engines are at now."""
    last: dict[tuple[str, str], Note] = {}
    for note in stack.notes():
        last[note.worker, note.tag] = note
    return [note for note in last.values() if note.what == "started"]


def _times(running: Sequence[Note], notes: Sequence[Note], at: float) -> list[float]:
    """For each job that ran at a moment and did not get done then: how long until an engine began it again."""
    found = []
    for before in running:
        again = [note.at for note in notes if note.tag == before.tag and note.what == "started" and note.at > at]
        if again:
            found.append(again[0] - at)
    return found
