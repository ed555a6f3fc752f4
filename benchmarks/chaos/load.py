"""A stated load: so many jobs a second, each living its life as clients do."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import grpc

from atelier.pb.edge.v1 import edge_pb2
from benchmarks.chaos.clients import Caller, chat, image
from benchmarks.chaos.receiver import Receiver
from benchmarks.chaos.stack import Stack
from benchmarks.chaos.work import Work

# A run that did not reach this share of its stated load proves nothing.
REACHED = 0.9
# What a life may take after the last was begun, and after the last fault.
MAX_LIFE_SECONDS = 60.0


@dataclass(frozen=True)
class Mix:
    """What jobs are like. Probabilities of each part of a life, and lengths in seconds."""

    seconds: tuple[float, float] = (0.05, 1.5)
    images: float = 0.4
    cancelled: float = 0.25
    repeated: float = 0.15
    left: float = 0.4
    failing: float = 0.04
    poison: float = 0.0
    retried: float = 0.1
    webhooks: float = 0.4


class Load:
    """Submits at a rate and follows every job to its end."""

    def __init__(
        self, stack: Stack, draw: random.Random, mix: Mix, users: Sequence[str], receiver: Receiver | None = None
    ) -> None:
        """With a `receiver` some jobs have a webhook there."""
        self._receiver, self._users = receiver, users
        turned = stack.edges[::-1]
        self._callers = [[stack.caller(user), stack.caller(user, turned)] for user in users]
        self._draw, self._mix = draw, mix
        self._lives: list[asyncio.Task[None]] = []
        self._stack, self._last = stack, 0.0
        self.stated = 0

    async def learn_secrets(self) -> None:
        """Tells the receiver what signs the callbacks of each user."""
        assert self._receiver
        for user, (caller, _) in zip(self._users, self._callers, strict=True):
            self._receiver.secrets[user] = await caller.webhook_secret()

    async def run(self, jobs_per_second: float, seconds: float) -> None:
        """Starts lives at the stated rate, for this long or until it is cancelled; they go on after it."""
        started = time.time()
        for number in range(int(jobs_per_second * seconds)):
            await asyncio.sleep(max(0.0, started + number / jobs_per_second - time.time()))
            self._lives.append(asyncio.create_task(self._life(number)))
            self.stated, self._last = number + 1, time.time()

    def reached(self) -> float:
        """The share of the stated jobs that were accepted while they were being submitted, or very soon after."""
        accepted = self._stack.history.acknowledged().values()
        in_time = [
            entries for entries in accepted if entries[0].operation == "submit" and entries[0].ended < self._last + 3
        ]
        return len(in_time) / self.stated if self.stated else 0.0

    async def ended(self) -> list[str]:
        """Waits for the end of all lives; returns what went wrong in them. One that does not end is a client that waits
        for a job that is stuck."""
        _, stuck = await asyncio.wait(self._lives, timeout=MAX_LIFE_SECONDS)
        waiting = [
            f"{key} still waits at {_where(life)}: {self._stack.history.unfinished(key)}"
            for life in stuck
            if (key := f"job-{self._lives.index(life)}")
        ]
        for life in stuck:
            life.cancel()
        found = await asyncio.gather(*self._lives, return_exceptions=True)
        await asyncio.gather(*(caller.close() for pair in self._callers for caller in pair))
        failed = [error for error in found if error is not None and not isinstance(error, asyncio.CancelledError)]
        return waiting + [_spoken(error) for error in failed]

    async def _life(self, number: int) -> None:
        draw = random.Random(self._draw.random())
        here, there = draw.sample(draw.choice(self._callers), 2)
        request = self._request(f"job-{number}", here.user, draw)
        if draw.random() < self._mix.repeated:
            job, _ = await asyncio.gather(here.submit(request), there.submit(request))
        else:
            job = await here.submit(request)
        if draw.random() < self._mix.cancelled:
            await asyncio.gather(self._cancelled(there, job.id, draw), here.ended(job.id))
        elif draw.random() < self._mix.left:
            await there.ended(job.id, await self._some(here, job.id, draw))
        else:
            await here.ended(job.id)
        await self._afterwards(here, there, request, job.id, draw)

    async def _afterwards(
        self, here: Caller, there: Caller, request: edge_pb2.SubmitJobRequest, job_id: str, draw: random.Random
    ) -> None:
        """What clients do with a job that has ended: look, ask again with its key, repeat it."""
        await there.get(job_id)
        if draw.random() < self._mix.repeated:
            await there.submit(request)
        if draw.random() < self._mix.retried:
            again = await here.retry(job_id, f"{request.idempotency_key}-again")
            await there.ended(again.id)
        if draw.random() < self._mix.repeated:
            await here.list(5)

    async def _cancelled(self, caller: Caller, job_id: str, draw: random.Random) -> None:
        await asyncio.sleep(draw.choice((0.0, 0.02, draw.random(), draw.random() * 3)))
        await caller.cancel(job_id)

    async def _some(self, caller: Caller, job_id: str, draw: random.Random) -> int:
        """Watches a few events and leaves; returns the last sequence number seen."""
        wanted, last = draw.randint(1, 5), 0
        async for event in caller.watch(job_id):
            last, wanted = event.sequence, wanted - 1
            if not wanted:
                break
        return last

    def _request(self, tag: str, user: str, draw: random.Random) -> edge_pb2.SubmitJobRequest:
        mix, chance = self._mix, draw.random()
        end = "kill" if chance < mix.poison else "fail" if chance < mix.poison + mix.failing else "ok"
        work = Work(tag, round(draw.uniform(*mix.seconds), 3), draw.randint(2, 12), end)
        fields: dict[str, edge_pb2.Webhook] = {}
        if draw.random() < mix.webhooks and self._receiver:
            fields = {"webhook": edge_pb2.Webhook(url=self._receiver.url(user), on_start=draw.random() < 0.5)}
        if draw.random() < mix.images:
            return image(work, tag, draw.choice((1, 3)), draw.randrange(2**31), **fields)
        return chat(work, tag, **fields)


def _spoken(error: BaseException) -> str:
    """What no client should have been told."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return repr(error)


def _where(life: asyncio.Task[None]) -> str:
    """What a client waits for: the functions that wait, outermost first."""
    names, coroutine = [], cast(Any, life.get_coro())
    while frame := getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None):
        names.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    return " ".join(names)
