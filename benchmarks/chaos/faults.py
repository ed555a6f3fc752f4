"""What goes wrong: each fault a function that does it, lets it last, and ends it."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.chaos.postgres import Postgres
from benchmarks.chaos.stack import Process, Stack, now

FREEZE_SECONDS = 12.0
AWAY_SECONDS = (0.2, 2.0)


@dataclass(frozen=True)
class Struck:
    """A fault that was done: its name, to whom, and when, since the epoch."""

    name: str
    victim: str
    at: float


@dataclass
class Scene:
    """What faults happen to."""

    stack: Stack
    postgres: Postgres
    draw: random.Random
    struck: list[Struck] = field(default_factory=list)

    def note(self, name: str, victim: str) -> None:
        self.struck.append(Struck(name, victim, now()))


async def kill_edge(scene: Scene) -> None:
    _kill(scene, "kill -9 edge", scene.stack.edges)


async def kill_worker(scene: Scene) -> None:
    _kill(scene, "kill -9 worker", scene.stack.workers)


async def freeze_edge(scene: Scene) -> None:
    await _freeze(scene, "SIGSTOP edge", scene.stack.edges)


async def freeze_worker(scene: Scene) -> None:
    await _freeze(scene, "SIGSTOP worker", scene.stack.workers)


async def restart_postgres_fast(scene: Scene) -> None:
    scene.note("PostgreSQL restarted, fast", "postgres")
    await scene.postgres.restart("fast", scene.draw.uniform(*AWAY_SECONDS))


async def crash_postgres(scene: Scene) -> None:
    scene.note("PostgreSQL restarted, immediate", "postgres")
    await scene.postgres.restart("immediate", scene.draw.uniform(*AWAY_SECONDS))


async def roll_edges(scene: Scene) -> None:
    """One replica after the other, each only when the one before it serves again."""
    scene.note("rolling restart of edges", "all")
    for edge in scene.stack.edges:
        await edge.roll()
        await edge.ready()


async def roll_worker(scene: Scene) -> None:
    worker = scene.draw.choice(scene.stack.workers)
    scene.note("restart of a worker", worker.name)
    await worker.roll()
    await worker.ready()


async def faulty_store(scene: Scene) -> None:
    """For some seconds one use in twenty fails before it is executed, and one in twenty after its commit."""
    scene.note("store faults", "postgres")
    scene.stack.store_faults(0.05, 0.05)
    await asyncio.sleep(5)
    scene.stack.store_faults(0, 0)


Fault = Callable[[Scene], Awaitable[None]]
# The long ones beside the short ones: what happens while something is frozen is the point of freezing it.
HANDS: tuple[tuple[Fault, ...], ...] = (
    (freeze_worker, freeze_edge),
    (kill_edge, kill_worker, crash_postgres, faulty_store, roll_edges, restart_postgres_fast, roll_worker),
)
KINDS = sum(map(len, HANDS))


async def strike(scene: Scene, seconds: float, pause: tuple[float, float]) -> None:
    """For this long, two hands at once: each does all of its faults in turn, in an order drawn anew each round, with a
    drawn pause between."""
    # Draws of its own for each hand: which of the two is sooner differs from run to run.
    hands = [replace(scene, draw=random.Random(scene.draw.random())) for _ in HANDS]
    await asyncio.gather(
        *(_hand(hand, faults, now() + seconds, pause) for hand, faults in zip(hands, HANDS, strict=True))
    )


async def _hand(scene: Scene, faults: Sequence[Fault], until: float, pause: tuple[float, float]) -> None:
    waiting: list[Fault] = []
    while now() < until:
        waiting = waiting or scene.draw.sample(faults, len(faults))
        await waiting.pop()(scene)
        await asyncio.sleep(scene.draw.uniform(*pause))


def _kill(scene: Scene, name: str, among: Sequence[Process]) -> None:
    victim = scene.draw.choice(among)
    scene.note(name, victim.name)
    victim.kill()


async def _freeze(scene: Scene, name: str, among: Sequence[Process]) -> None:
    victim = scene.draw.choice(among)
    scene.note(name, victim.name)
    victim.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(FREEZE_SECONDS)
    finally:
        victim.signal(signal.SIGCONT)
