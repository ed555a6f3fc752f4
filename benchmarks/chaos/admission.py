"""What is accepted: one job a key however many ask for it at once, and not one job more than a queue's limit."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from benchmarks.chaos.clients import Caller, callers, chat, image
from benchmarks.chaos.scenario import Bench, Outcome, settle
from benchmarks.chaos.stack import Process, Shape, Stack
from benchmarks.chaos.work import Work

SUBMITTERS, CONCURRENT_KEYS = 32, 4
CROWD, LIMIT, LIMIT_OF_TYPE = 64, 10, 5


async def storm(bench: Bench) -> Outcome:
    """32 submissions of each key at once over two replicas make one job a key; another payload is refused."""
    outcome, keys = Outcome("idempotency storm"), bench.pick(40, 1000)
    async with bench.stack(Shape(chat_workers=1, chat_slots=4)) as stack:
        async with callers(*(stack.caller("admin-0", _preferring(stack, n)) for n in range(8))) as crowd:
            started = time.monotonic()
            gate = asyncio.Semaphore(CONCURRENT_KEYS)
            found = await asyncio.gather(*(_together(crowd, f"key-{number}", gate) for number in range(keys)))
            seconds = time.monotonic() - started
            refused = await asyncio.gather(*(_other_payload(crowd[0], f"key-{n}") for n in range(0, keys, 10)))
        outcome.must(all(len(ids) == 1 for ids in found), "one job a key", f"{[ids for ids in found if len(ids) != 1]}")
        outcome.must(
            len(set().union(*found)) == keys, "one job a key", f"{len(set().union(*found))} jobs for {keys} keys"
        )
        outcome.must(all(refused), "another payload is refused", f"{refused.count(False)} were taken")
        calls = keys * SUBMITTERS
        answered = sum(1 for entry in stack.history.entries if entry.operation == "submit" and entry.reply)
        outcome.figures |= {"keys": str(keys), "submissions": str(calls), "submissions/s": f"{calls / seconds:.0f}"}
        outcome.must_be_valid(answered >= calls, f"only {answered} of {calls} submissions were answered")
        await settle(stack, outcome)
        made = int(outcome.figures["jobs"])
        outcome.must(made == keys, "one job a key", f"{made} jobs are stored for {keys} keys")
    return outcome


async def _together(crowd: Sequence[Caller], key: str, gate: asyncio.Semaphore) -> set[str]:
    async with gate:
        request = chat(Work(key), key)
        jobs = await asyncio.gather(*(crowd[n % len(crowd)].submit(request) for n in range(SUBMITTERS)))
        return {job.id for job in jobs}


async def _other_payload(caller: Caller, key: str) -> bool:
    try:
        await caller.submit_once(chat(Work(f"another-{key}"), key))
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.ALREADY_EXISTS
    return False


async def limits(bench: Bench) -> Outcome:
    """64 submissions at once over two replicas at a limit of 10: exactly 10 are taken, and 5 of one type."""
    outcome, rounds = Outcome("queue limits"), bench.pick(2, 20)
    async with bench.stack(Shape(chat_workers=1)) as stack:
        for number in range(rounds):
            users = f"guest-{2 * number}", f"guest-{2 * number + 1}"
            await _full(stack, outcome, users[0], both_types=True, limit=LIMIT)
            await _full(stack, outcome, users[1], both_types=False, limit=LIMIT_OF_TYPE)
        outcome.figures |= {"rounds": str(rounds), "submissions at once": str(CROWD)}
        await settle(stack, outcome)
    return outcome


async def _full(stack: Stack, outcome: Outcome, user: str, both_types: bool, limit: int) -> None:
    """Fills a user's queue, makes room for three, and fills it again. No worker takes images here."""
    async with callers(*(stack.caller(user, _preferring(stack, n)) for n in range(8))) as crowd:
        taken = await _crowd(crowd, outcome, user, "first", both_types)
        outcome.must(len(taken) == limit, "the limit is exact", f"{len(taken)} of {CROWD} were taken at {limit}")
        await asyncio.gather(*(crowd[0].cancel(job.id) for job in taken[:3]))
        again = await _crowd(crowd, outcome, user, "again", both_types)
        outcome.must(len(again) == min(3, len(taken)), "the limit is exact", f"{len(again)} were taken with room for 3")
        await asyncio.gather(*(crowd[0].cancel(job.id) for job in (*taken[3:], *again)))


async def _crowd(
    crowd: Sequence[Caller], outcome: Outcome, user: str, name: str, both_types: bool
) -> list[edge_pb2.Job]:
    requests = []
    for number in range(CROWD):
        tag = f"{user}-{name}-{number}"
        requests.append(image(Work(tag), tag))
        if both_types and number % 2:
            requests[-1].sdxl.type = sdxl_pb2.SDXL_JOB_TYPE_SDXL_IMAGE_HIGH
    answers = await asyncio.gather(
        *(crowd[number % len(crowd)].submit_once(request) for number, request in enumerate(requests)),
        return_exceptions=True,
    )
    for answer in answers:
        if isinstance(answer, BaseException):
            outcome.must(_says_when(answer), "a full queue says when to come back", repr(answer)[:300])
    return [answer for answer in answers if not isinstance(answer, BaseException)]


def _says_when(error: BaseException) -> bool:
    """Whether this is RESOURCE_EXHAUSTED with QuotaFailure, RetryInfo and a pushback for the client's own retries."""
    if not isinstance(error, grpc.aio.AioRpcError) or error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return False
    status = rpc_status.from_call(cast(Any, error))
    details = status.details if status else []
    metadata = {str(name): value for name, value in cast(Any, error.trailing_metadata())}
    pushback = metadata.get("grpc-retry-pushback-ms", "0")
    wanted = (error_details_pb2.QuotaFailure.DESCRIPTOR, error_details_pb2.RetryInfo.DESCRIPTOR)
    return all(any(detail.Is(kind) for detail in details) for kind in wanted) and int(pushback) > 0


def _preferring(stack: Stack, number: int) -> list[Process]:
    """All edges, another one first for every number."""
    turn = number % len(stack.edges)
    return [*stack.edges[turn:], *stack.edges[:turn]]
