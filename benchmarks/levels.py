"""Every hostile and every odd honest program at every level of isolation this machine can show.

    python -m benchmarks.levels [--take N] [--level NAME]...

Levels: what the kernel offers, Landlock cut to its first ABI (Linux 5.13), and no Landlock at all, where no file
can be opened; each as the user who asked and, for root, as an ordinary user too. The status is 1 for a wrong verdict.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.soak import HONEST, NAME, TESTS, descendants, source_of
from grader.content import Challenge, load_challenge
from grader.judge import grade_source
from grader.sandbox import Sandbox

LEVELS = {
    "all": frozenset[str](),
    "landlock-abi1": frozenset({"landlock-beyond-abi1"}),
    "no-landlock": frozenset({"landlock-support"}),
}
PROGRAMS = TESTS / "attacks" / "programs"
ORDINARY = 12345
# closed book: what is not loaded when the file arrives cannot be imported
NEEDS_FILES = {"imports.py"}


def run(level: str, take: int) -> int:
    """Print one line for a level and return the number of wrong verdicts."""
    challenge = load_challenge(NAME)
    preload, env = challenge.preload, dict(challenge.environment)
    with Sandbox(isolate=True, preload=preload, env=env, without=LEVELS[level]) as box:
        box.ready()
        began = time.monotonic()
        wrong = list(mistakes(box, challenge, level, take))
        seconds = time.monotonic() - began
        alive = len(descendants(os.getpid())) - 1
        print(
            f"uid {os.getuid():5}  {level:13}  {count(PROGRAMS, take):3} hostile,"
            f" {count(HONEST, take):2} honest: {len(wrong)} wrong verdicts,"
            f" {alive} processes left, {seconds:.0f} s  [{' '.join(box.layers)}]",
            flush=True,
        )
    for line in wrong:
        print(f"    {line}", flush=True)
    return len(wrong) + alive


def chosen(folder: Path, take: int) -> list[Path]:
    """A fixed sample of the programs in a folder, in their order."""
    paths = sorted(folder.glob("*.py"))
    return sorted(random.Random(7).sample(paths, min(take or len(paths), len(paths))))


def count(folder: Path, take: int) -> int:
    """How many of a folder's programs are run."""
    return len(chosen(folder, take))


def mistakes(box: Sandbox, challenge: Challenge, level: str, take: int) -> Iterator[str]:
    """Yield a line for each wrong verdict; an honest file must pass right after each hostile one."""
    hasty = replace(challenge, seconds=0.3)
    case = ["two-continuations"]
    for path in chosen(PROGRAMS, take):
        result = grade_source(hasty, source_of(path), cases=case, sandbox=box, secret=False)
        if result.verdict != "failed" or "ESCAPED" in result.log:
            yield f"{path.name}: {result.verdict} {result.log[:200]!r}"
        after = grade_source(
            challenge, challenge.reference_text.encode(), cases=case, sandbox=box, secret=False
        )
        if after.verdict != "passed":
            yield f"the reference after {path.name}: {after.verdict}"
    for path in chosen(HONEST, take):
        result = grade_source(
            challenge, source_of(path), cases=[*case, "chunks-3-3-2"], sandbox=box, secret=False
        )
        refused = level == "no-landlock" and path.name in NEEDS_FILES
        if (result.verdict == "passed") is refused:
            yield f"{path.name}: {result.verdict} {result.log[:200]!r}"


def as_ordinary_user(arguments: list[str]) -> int:
    """Run the same in a process of a user without rights."""
    command = [sys.executable, "-B", "-m", "benchmarks.levels", *arguments]
    identity = {"user": ORDINARY, "group": ORDINARY, "extra_groups": []}
    try:
        return subprocess.run(command, check=False, cwd=TESTS.parent, **identity).returncode
    except PermissionError as error:
        print(f"uid {ORDINARY}  not run: {error}; install Python where every user can read it")
        return 0


def main() -> int:
    """Run the levels asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--take", type=int, default=0, help="programs per level; all if left out")
    parser.add_argument("--level", action="append", choices=LEVELS)
    options = parser.parse_args()
    levels = options.level or list(LEVELS)
    wrong = sum(run(level, options.take) for level in levels)
    if os.getuid() == 0:
        asked = [word for level in levels for word in ("--level", level)]
        wrong += as_ordinary_user(["--take", str(options.take), *asked])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
