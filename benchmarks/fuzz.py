"""Fuzz everything that reads what others wrote, for as long as asked.

    python -m benchmarks.fuzz [--minutes N] [--seed S] [--target NAME]...

Prints per target how many inputs were given, taken and refused, and every crash and hang with the seed that repeats it.
The status is 1 when there was one. Time is shared equally among the targets.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from benchmarks.fuzz_targets import TARGETS, Target, close

ROUND = 200  # inputs between two looks at the clock
SLOW_ROUND = 10
HANG_SECONDS = 30


class Hang(BaseException):
    """No answer in time; not an Exception, so that nothing on the way takes it for its own."""


def fuzz(target: Target, seconds: float, first: int, tally: Counter[str]) -> list[str]:
    """Give a target inputs until the time is over; return what went wrong."""
    faults: list[str] = []
    target.warm()
    number, until = first, time.monotonic() + seconds
    while time.monotonic() < until and len(faults) < 5:
        try:
            one_round(target, number, SLOW_ROUND if target.slow else ROUND, tally)
        except Hang:
            faults.append(f"hang, --seed {number}: {_told()}")
        except Exception:
            faults.append(f"crash, --seed {number}: {_told()}")
        number += 1
    return faults


def one_round(target: Target, number: int, size: int, tally: Counter[str]) -> None:
    """Give a target `size` inputs drawn from one seed; its own faults and Hang are raised."""

    @seed(number)
    @settings(
        max_examples=size,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs())
    def run(value: Any) -> None:
        signal.alarm(HANG_SECONDS)
        try:
            tally["taken" if target(value) else "refused"] += 1
        finally:
            signal.alarm(0)

    run()


def _told() -> str:
    return traceback.format_exc(limit=-6)[:3000]


def _hang(*_: object) -> None:
    raise Hang


def main() -> int:
    """Print one line per target and a last one for all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", choices=TARGETS)
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _hang)
    names = options.target or list(TARGETS)
    total, found = 0, []
    for name in names:
        tally: Counter[str] = Counter()
        began = time.monotonic()
        wrong = fuzz(TARGETS[name], 60 * options.minutes / len(names), options.seed, tally)
        found += wrong
        total += tally.total()
        hangs = sum(line.startswith("hang") for line in wrong)
        print(
            f"{name:16} {tally.total():8} inputs, {tally['taken']:8} taken, {tally['refused']:8} refused,"
            f" {len(wrong) - hangs} crashes, {hangs} hangs, {time.monotonic() - began:.0f} s",
            flush=True,
        )
        for line in wrong:
            print(line, flush=True)
    close()
    print(
        f"{total} inputs in {options.minutes:g} min from seed {options.seed}: {len(found)} faults"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
