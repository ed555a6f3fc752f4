"""Who goes next: one job before another's thousand, equal worker-seconds, urgency first, and no job waits for ever."""

import asyncio
import time
from collections.abc import Sequence

from atelier.pb.edge.v1 import edge_pb2
from benchmarks.chaos.clients import Caller, callers, chat
from benchmarks.chaos.scenario import Bench, Outcome, settle
from benchmarks.chaos.stack import Shape, Stack
from benchmarks.chaos.work import Note, Work

SLOTS = 2
AGEING_SECONDS, FLOOD = 0.5, 100
# Between the choice of the next job and the engine's note of it this many others may begin.
IN_BETWEEN = 2 * SLOTS


async def fairness(bench: Bench) -> Outcome:
    """Three times as much work as the workers can do, and everyone gets what is theirs."""
    outcome = Outcome("fairness under 3x overload")
    async with bench.stack(Shape(chat_workers=1, chat_slots=SLOTS, ageing_seconds=AGEING_SECONDS)) as stack:
        await _one_before_a_thousand(stack, bench, outcome)
        await _equal_seconds(stack, bench, outcome)
        await _urgent_first(stack, outcome)
        await settle(stack, outcome, 60)
    return outcome


async def _one_before_a_thousand(stack: Stack, bench: Bench, outcome: Outcome) -> None:
    count, seconds = bench.pick(120, 1000), bench.pick(4, 30)
    async with callers(stack.caller("admin-1"), stack.caller("admin-2")) as (many, few):
        work = Work("many", SLOTS * seconds / count)
        flood = await _submitted(many, [work.again(tag=f"many-{number}") for number in range(count)])
        # Long enough for the flood's oldest to have waited for longer than an ageing step.
        await asyncio.sleep(seconds / 2)
        single = await few.submit(chat(work.again(tag="single"), "single"))
        asked = time.time()
        await few.ended(single.id)
        began = next(note.at for note in stack.notes() if note.tag == "single")
        before = [note for note in _started(stack) if asked < note.at < began]
        outcome.figures["started before another's first"] = f"{len(before)} of {count}"
        left = count - len([note for note in _started(stack) if note.at < asked])
        outcome.must_be_valid(left > count / 4, f"only {left} of {count} jobs waited when the other's came")
        outcome.must(
            len(before) <= IN_BETWEEN, "another's first job is next", f"{len(before)} of {count} jobs went before it"
        )
        await _cancelled(many, flood)


async def _equal_seconds(stack: Stack, bench: Bench, outcome: Outcome) -> None:
    """Users whose jobs take 1, 2 and 4 times as long: a kind each, so that the cost of each is learned.

    Of the tier that may have thousands queued."""
    lengths, seconds = {"admin-4": 0.06, "admin-5": 0.12, "admin-6": 0.24}, bench.pick(6, 60)
    async with callers(*(stack.caller(user) for user in lengths)) as users:
        for warm in (True, False):
            started = time.time()
            batches = []
            for user, length in zip(users, lengths.values(), strict=True):
                # Three times what the slots can do in this time, shared by three.
                count = 12 if warm else int(seconds * SLOTS / length)
                works = [Work(f"{user.user}-{warm}-{number}", length) for number in range(count)]
                batches.append(_submitted(user, works, tokens=int(length * 4000)))
            jobs = await asyncio.gather(*batches)
            if warm:
                await asyncio.gather(
                    *(user.ended(job.id) for user, own in zip(users, jobs, strict=True) for job in own)
                )
                continue
            submitted = time.time()
            await asyncio.sleep(max(started + seconds - submitted, seconds / 2))
            window = submitted, time.time()
            await asyncio.gather(*(_cancelled(user, own) for user, own in zip(users, jobs, strict=True)))
    shares = [_seconds(stack, f"{user}-False", *window) for user in lengths]
    mean = sum(shares) / len(shares)
    outcome.figures["worker-seconds of three users"] = " ".join(f"{share:.2f}" for share in shares)
    outcome.figures["furthest from the mean"] = f"{max(abs(share / mean - 1) for share in shares):.0%}"
    allowed = 0.35 if bench.short else 0.10
    fair = all(abs(share / mean - 1) <= allowed for share in shares)
    outcome.must(fair, "equal worker-seconds", f"{shares} differ by more than {allowed:.0%} from their mean")
    busy = sum(shares) / (SLOTS * (window[1] - window[0]))
    outcome.must_be_valid(busy > 0.5, f"the slots were busy for {busy:.0%} of the time: no overload")


async def _urgent_first(stack: Stack, outcome: Outcome) -> None:
    """A tier's and a request's priority come before the order of arrival, and waiting comes before both in the end."""
    async with callers(stack.caller("basic-1"), stack.caller("premium-4"), stack.caller("admin-3")) as (low, high, top):
        holds = await _submitted(top, [Work(f"hold-{number}", 1.0) for number in range(SLOTS)])
        await _until_started(stack, "hold-", SLOTS)
        slow = await _submitted(low, [Work(f"low-{number}", 0.05) for number in range(4)])
        plain = await _submitted(high, [Work(f"plain-{number}", 0.05) for number in range(4)])
        urgent = await high.submit(chat(Work("urgent", 0.05), "urgent", priority=5))
        await asyncio.gather(*(low.ended(job.id) for job in slow), high.ended(urgent.id))
        order = [note.tag for note in _started(stack) if note.tag.startswith(("low-", "plain-", "urgent"))]
        wanted = ["urgent", *(f"plain-{number}" for number in range(4)), *(f"low-{number}" for number in range(4))]
        outcome.must(_roughly(order, wanted), "urgent first, and in order", f"they started as {order}")
        flood = await _submitted(high, [Work(f"flood-{number}", 0.25) for number in range(FLOOD)])
        starved = await low.submit(chat(Work("starved", 0.05), "starved"))
        asked = time.time()
        await low.ended(starved.id)
        outcome.figures["ten levels lower, waited"] = f"{time.time() - asked:.1f} s (ageing {AGEING_SECONDS} s a level)"
        left = [note for note in _started(stack) if note.tag.startswith("flood-")]
        outcome.must(len(left) < FLOOD, "nothing starves", "it started after all that was more urgent")
        await _cancelled(high, flood)
        del holds, plain


def _roughly(order: Sequence[str], wanted: Sequence[str]) -> bool:
    """In the wanted order but for neighbours that started together in different slots."""
    return len(order) == len(wanted) and all(abs(order.index(tag) - at) < SLOTS for at, tag in enumerate(wanted))


async def _submitted(caller: Caller, works: Sequence[Work], tokens: int = 256) -> list[edge_pb2.Job]:
    """One after the other, so that the order of arrival is known."""
    found = []
    for work in works:
        request = chat(work, work.tag)
        request.chat.max_tokens = tokens
        found.append(await caller.submit(request))
    return found


async def _cancelled(caller: Caller, jobs: Sequence[edge_pb2.Job]) -> None:
    for start in range(0, len(jobs), 50):
        await asyncio.gather(*(caller.cancel(job.id) for job in jobs[start : start + 50]))


async def _until_started(stack: Stack, prefix: str, count: int) -> None:
    async with asyncio.timeout(30):
        while sum(note.tag.startswith(prefix) for note in _started(stack)) < count:
            await asyncio.sleep(0.05)


def _started(stack: Stack) -> list[Note]:
    return [note for note in stack.notes() if note.what == "started"]


def _seconds(stack: Stack, prefix: str, since: float, until: float) -> float:
    """How long engines worked on the jobs of one user within a time."""
    total, began = 0.0, dict[str, float]()
    for note in stack.notes():
        if note.tag.startswith(prefix) and note.what == "started":
            began[note.tag] = note.at
        elif note.tag in began:
            total += max(0.0, min(note.at, until) - max(began.pop(note.tag), since))
    return total + sum(max(0.0, until - max(at, since)) for at in began.values())
