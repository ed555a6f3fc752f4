"""`python -m benchmarks.chaos [--seed N] [--minutes M] [--short] [--only NAME]`: every scenario, and a report.

Exit code 0: every rule held. 1: a rule was broken; the history of the job concerned is printed. 2: the run proves
nothing, because the load or the faults it states were not reached.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.chaos.admission import limits, storm
from benchmarks.chaos.cancels import cancels
from benchmarks.chaos.fairness import fairness
from benchmarks.chaos.mixed import mixed
from benchmarks.chaos.postgres import Postgres
from benchmarks.chaos.recovery import recovery
from benchmarks.chaos.rolling import rolling
from benchmarks.chaos.scenario import Bench, Outcome

SCENARIOS = {
    "storm": storm,
    "limits": limits,
    "fairness": fairness,
    "cancels": cancels,
    "rolling": rolling,
    "recovery": recovery,
    "mixed": mixed,
}

SHOWN_OF_A_RULE = 2


async def main(options: argparse.Namespace) -> int:
    print(f"seed {options.seed}", flush=True)
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        postgres = Postgres(Path(folder) / "postgres")
        try:
            await postgres.start()
            outcomes = await _run(options, Bench(options.seed, options.short, options.minutes, Path(folder), postgres))
        finally:
            await postgres.stop()
    return _verdict(outcomes)


async def _run(options: argparse.Namespace, bench: Bench) -> list[Outcome]:
    outcomes = []
    for name, scenario in SCENARIOS.items():
        if not options.only or name in options.only:
            started = time.monotonic()
            outcome = await scenario(bench)
            outcome.seconds = time.monotonic() - started
            _print(outcome)
            outcomes.append(outcome)
    return outcomes


def _print(outcome: Outcome) -> None:
    state = "BROKEN" if outcome.violations else "INVALID" if outcome.invalid else "holds"
    print(f"\n{outcome.name}: {state} ({outcome.seconds:.0f} s) {outcome.invalid}")
    for name, value in outcome.figures.items():
        print(f"  {name:34} {value}")
    shown: Counter[str] = Counter()
    for violation in outcome.violations:
        shown[violation.rule] += 1
        if shown[violation.rule] <= SHOWN_OF_A_RULE:
            print(f"  {violation}")
    for rule, count in shown.items():
        print(f"  {rule}: broken {count} times")
    sys.stdout.flush()


def _verdict(outcomes: list[Outcome]) -> int:
    if any(outcome.violations for outcome in outcomes):
        return 1
    return 2 if any(outcome.invalid for outcome in outcomes) else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of every draw; printed")
    parser.add_argument("--minutes", type=float, default=10, help="length of the scenario with all faults at once")
    parser.add_argument("--short", action="store_true", help="everything in about 90 seconds")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, help="these scenarios alone")
    try:
        sys.exit(asyncio.run(main(parser.parse_args())))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("stopped")
