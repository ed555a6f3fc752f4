"""Cancelling at every point of a job's life: one end, the one the client was told, and an engine that stops."""

import asyncio
import random
import time

from benchmarks.chaos.clients import Caller, callers, chat, image
from benchmarks.chaos.scenario import Bench, Outcome, settle
from benchmarks.chaos.stack import Shape, Stack
from benchmarks.chaos.work import Note, Work
from edge_service.queue.rows import status_word

STEPS, STEP_SECONDS = 6, 0.05
POINTS = ("at once", "leased", "first event", "mid-run", "last step", "at the end", "after the end")
# Beside the step that may be running: what a loaded machine needs to carry a cancel from edge to engine.
GRACE_SECONDS = 1.5


async def cancels(bench: Bench) -> Outcome:
    """Many times at each point, on two kinds of workers, half of them at the other replica."""
    outcome, times = Outcome("cancel races"), bench.pick(6, 60)
    draw = bench.random("cancels")
    async with bench.stack(Shape(chat_workers=1, chat_slots=6, sdxl_workers=2)) as stack:
        async with callers(stack.caller("admin-0"), stack.caller("admin-1", stack.edges[::-1])) as users:
            started = time.monotonic()
            gate = asyncio.Semaphore(10)
            told = await asyncio.gather(
                *(
                    _cancel_at(point, number, users[number % 2], gate, draw)
                    for number in range(times)
                    for point in POINTS
                )
            )
            outcome.figures["cancels/s"] = f"{len(told) / (time.monotonic() - started):.0f}"
        for point in POINTS:
            ends = [end for where, end in told if where == point]
            outcome.figures[f"cancelled {point}"] = f"{ends.count('cancelled')} of {len(ends)}"
        counts = {point: sum(1 for where, end in told if where == point and end == "cancelled") for point in POINTS}
        outcome.must_be_valid(counts["mid-run"] > 0, "no cancel met a running engine")
        outcome.must(counts["after the end"] == 0, "an ended job stays as it is", f"{counts['after the end']} did not")
        await settle(stack, outcome)
        _stopped_in_time(stack, outcome)
    return outcome


async def _cancel_at(
    point: str, number: int, caller: Caller, gate: asyncio.Semaphore, draw: random.Random
) -> tuple[str, str]:
    async with gate:
        work = Work(f"{point.replace(' ', '_')}-{number}", STEPS * STEP_SECONDS, STEPS)
        # Few images: their workers have a slot each, and the others would wait behind them.
        job = await caller.submit((image if number % 3 == 2 else chat)(work, work.tag))
        await _reach(point, caller, job.id, draw.random() * STEP_SECONDS)
        told = status_word((await caller.cancel(job.id)).status)
        again = status_word((await caller.ended(job.id)).status)
        return point, told if told == again else f"{told}, then {again}"


async def _reach(point: str, caller: Caller, job_id: str, jitter: float) -> None:
    if point == "at once":
        return
    if point == "leased":
        await asyncio.sleep(jitter / 10)
        return
    events, running = 0, None
    async for event in caller.watch(job_id):
        events += event.HasField("progress") or event.HasField("delta")
        running = running or (time.monotonic() if events else None)
        if point == "first event" and events:
            return
        if point == "mid-run" and events > 2:
            return
        if point in ("last step", "at the end") and running:
            late = STEPS * STEP_SECONDS - (STEP_SECONDS if point == "last step" else 0)
            await asyncio.sleep(max(0.0, running + late - time.monotonic()) + jitter / 2)
            return


def _stopped_in_time(stack: Stack, outcome: Outcome) -> None:
    """No engine begins a job that was told to be cancelled, and one that runs stops within a step."""
    notes = stack.notes()
    cancelled = [entry for entry in stack.history.entries if entry.operation == "cancel" and entry.reply]
    tags = {entry.reply.id: entry.key for entry in stack.history.entries if entry.operation == "submit" and entry.reply}
    waited = []
    for entry in cancelled:
        assert entry.reply
        own = [note for note in notes if note.tag == tags[entry.reply.id]]
        if status_word(entry.reply.status) == "cancelled" and own:
            waited.append(_ran_on(own, entry.ended))
            late = waited[-1] > STEP_SECONDS + GRACE_SECONDS or own[0].at > entry.ended + GRACE_SECONDS
            if late:
                outcome.broken("the engine stops within a step", f"{waited[-1]:.2f} s after the answer", entry.reply.id)
    outcome.figures["engine stopped after the answer"] = f"at most {max(waited, default=0):.2f} s"


def _ran_on(notes: list[Note], since: float) -> float:
    """How long after a moment an engine still worked."""
    ends = [note.at for note in notes if note.what != "started"]
    return max(0.0, (ends[-1] if ends else time.time()) - since)
