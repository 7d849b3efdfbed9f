"""Lose none: `python -m benchmarks.batch_kill [SUBMISSIONS] [KILLS] [JOBS] [SEED]`.

A class of honest, wrong and hostile files (a tenth) is graded by `kvdojo batch`, which is killed at random moments and
resumed.  At the end each submission must have exactly one verdict, and the right one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.options import many, parser
from benchmarks.soak import NAME, TESTS, source_of
from grader.classroom.journal import read_journal

HOSTILE = sorted((TESTS / "attacks" / "programs").glob("*.py"))
HONEST = [
    *sorted((TESTS / "correct" / NAME).glob("*.py")),
    *sorted((TESTS / "attacks" / "honest").glob("*.py")),
]
WRONG = sorted((TESTS / "wrong" / NAME).glob("*.py"))


def fill(folder: Path, count: int, draw: random.Random) -> dict[str, str]:
    """Write the class; return the right verdicts by id."""
    wanted = {}
    for number in range(count):
        kind = "hostile" if number % 10 == 0 else draw.choice(["honest", "wrong"])
        # every tenth in turn, so that all hostile programs take part in a large class
        turn = HOSTILE[number // 10 % len(HOSTILE)]
        path = {"hostile": turn, "honest": draw.choice(HONEST), "wrong": draw.choice(WRONG)}[kind]
        name = f"{number:05}-{kind}-{path.stem.replace('_', '-')}"
        (folder / f"{name}.py").write_bytes(source_of(path))
        wanted[name] = "passed" if kind == "honest" else "failed"
    return wanted


def start(folder: Path, out: Path, jobs: int, *more: str) -> subprocess.Popen[bytes]:
    """Begin the batch, or go on with it."""
    words = ["batch", NAME, str(folder), "--out", str(out), "--jobs", str(jobs), *more]
    return subprocess.Popen(
        [sys.executable, "-m", "grader", *words],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def killed(process: subprocess.Popen[bytes], out: Path, after: int, draw: random.Random) -> int:
    """Kill once `after` results are there and a random moment later; return how many there were."""
    while process.poll() is None and finished(out) < after:
        time.sleep(0.05)
    time.sleep(draw.random() * 0.3)
    with_workers = draw.random() < 0.5  # as a power cut would
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL) if with_workers else process.kill()
    process.wait()
    return finished(out)


def finished(out: Path) -> int:
    """How many results there are."""
    try:
        return sum(entry.name.endswith(".json") for entry in os.scandir(out / "results"))
    except OSError:
        return 0


def faults(out: Path, wanted: dict[str, str]) -> list[str]:
    """What is not as it must be."""
    found = {
        path.stem: json.loads(path.read_bytes())["verdict"]
        for path in (out / "results").glob("*.json")
    }
    told = [
        f"{name}: {found.get(name)}, not {v}" for name, v in wanted.items() if found.get(name) != v
    ]
    told += [f"{name}: nobody handed it in" for name in found.keys() - wanted.keys()]
    events = list(read_journal(out / "journal.jsonl"))
    times = Counter(event["id"] for event in events if event["event"] == "finished")
    return told + [f"{name}: {times[name]} verdicts" for name in wanted if times[name] != 1]


def main() -> int:
    """Print how it went; the status is 1 when a verdict is missing, double or wrong."""
    options = parser(__doc__)
    options.add_argument("submissions", nargs="?", type=many, default=200)
    options.add_argument("kills", nargs="?", type=many, default=5)
    options.add_argument("jobs", nargs="?", type=many, default=os.cpu_count() or 1)
    options.add_argument("seed", nargs="?", type=int, default=7)
    given = options.parse_args()
    count, kills, jobs, seed = given.submissions, given.kills, given.jobs, given.seed
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch) / "in", Path(scratch) / "out"
        folder.mkdir()
        wanted = fill(folder, count, draw)
        began, more = time.monotonic(), []
        for after in sorted(draw.sample(range(1, count), kills)):
            there = killed(start(folder, out, jobs, *more), out, after, draw)
            print(f"killed after {there} of {count}", flush=True)
            more = ["--resume"]
        status = start(folder, out, jobs, *more).wait()
        seconds = time.monotonic() - began
        told = faults(out, wanted)
    kinds = Counter(name.split("-")[1] for name in wanted)
    print(f"{count} submissions {dict(kinds)}, {kills} kills, seed {seed}, {seconds:.0f} s")
    print(f"{len(told)} missing, double or wrong verdicts; the last run ended with {status}")
    for line in told[:20]:
        print(f"  {line}")
    return 1 if told or status != 1 else 0


if __name__ == "__main__":
    sys.exit(main())
