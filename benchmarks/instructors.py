"""How long an instructor waits: for `case add` on one challenge, and for `matrix` on all.

    python -m benchmarks.instructors [CHALLENGE ...] [--add CHALLENGE]

Whole commands are timed, as the shell sees them: Python, torch, the reference twice, decoys, every bug and trivial
answer. `case add` runs with --dry-run on a copy of the longest scenario, with another seed. The status is 1
when a bar is missed; the bars hold for two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from grader.content import Challenge, challenge_ids, load_challenge

ADD, MATRIX = 20.0, 240.0  # seconds


def main() -> int:
    """Print one line per command and the totals beside their bars."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("challenges", nargs="*", help="for matrix; all unless named")
    options.add_argument("--add", default="multi_head_attention", help="for case add")
    given = options.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.json"
        path.write_text(json.dumps(longest(load_challenge(given.add))))
        added = timed("case", "add", given.add, str(path), "--dry-run", "--json")
    print(f"case add {given.add}: {added:.1f} s (bar {ADD:g} s)")
    whole = 0.0
    for name in given.challenges or challenge_ids():
        seconds = timed("matrix", name, "--json")
        whole += seconds
        print(f"matrix {name}: {seconds:.1f} s", flush=True)
    print(f"matrix in all: {whole:.1f} s (bar {MATRIX:g} s for all challenges)")
    return int(added > ADD or whole > MATRIX)


def longest(challenge: Challenge) -> dict[str, object]:
    """A case like the scenario with the most steps."""
    scenarios = [entry for entry in challenge.case_entries if entry["kind"] == "scenario"]
    entry: dict[str, object] = max(scenarios, key=lambda entry: len(entry["steps"]))
    return {**entry, "id": "benchmark", "title": "Of the benchmark", "seed": 20_261}


def timed(*words: str) -> float:
    """Run one command and return the seconds it took; 3 is a refused case, and as good for timing."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "grader", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode not in (0, 3):
        raise SystemExit(f"kvdojo {' '.join(words)} ended with {done.returncode}")
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
