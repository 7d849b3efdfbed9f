"""Every correct file accepted every time: `python -m benchmarks.repeat [TIMES] [CHALLENGE]...`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from grader.content import challenge_ids, load_challenge
from grader.judge import grade_source, start_sandbox

CORRECT = Path(__file__).resolve().parents[1] / "tests" / "correct"


def main() -> int:
    """Print one line per file; the status is 1 when one was ever refused."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    refused = 0
    for name in sys.argv[2:] or challenge_ids():
        challenge = load_challenge(name)
        with start_sandbox(challenge) as sandbox:
            for path in sorted((CORRECT / name).glob("*.py")):
                began = time.monotonic()
                verdicts = [
                    grade_source(challenge, path.read_bytes(), sandbox=sandbox).verdict
                    for _ in range(times)
                ]
                accepted = verdicts.count("passed")
                refused += times - accepted
                seconds = (time.monotonic() - began) / times
                print(
                    f"{name}/{path.name}: {accepted} of {times} ({seconds:.2f} s each)", flush=True
                )
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
