"""Every correct file accepted every time: `python -m benchmarks.repeat [TIMES] [CHALLENGE]...`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.options import many, parser
from benchmarks.soak import reason_of
from grader.content import challenge_ids, load_challenge
from grader.judge import grade_source, start_sandbox

CORRECT = Path(__file__).resolve().parents[1] / "tests" / "correct"


def main() -> int:
    """Print one line per file; the status is 1 when one was ever refused."""
    options = parser(__doc__)
    options.add_argument("times", nargs="?", type=many, default=20, metavar="TIMES")
    options.add_argument("challenges", nargs="*", metavar="CHALLENGE", help="all unless named")
    given = options.parse_args()
    times, refused = given.times, 0
    if unknown := set(given.challenges).difference(challenge_ids()):
        options.error(f"no such challenge: {', '.join(sorted(unknown))}")
    for name in given.challenges or challenge_ids():
        challenge = load_challenge(name)
        with start_sandbox(challenge) as sandbox:
            for path in sorted((CORRECT / name).glob("*.py")):
                began = time.monotonic()
                accepted = 0
                for _ in range(times):
                    result = grade_source(challenge, path.read_bytes(), sandbox=sandbox)
                    accepted += result.verdict == "passed"
                    if result.verdict != "passed":
                        print(f"{name}/{path.name}: {reason_of(result)}", flush=True)
                refused += times - accepted
                seconds = (time.monotonic() - began) / times
                print(
                    f"{name}/{path.name}: {accepted} of {times} ({seconds:.2f} s each)", flush=True
                )
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
