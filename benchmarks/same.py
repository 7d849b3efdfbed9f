"""The same submission many times over: as many equal verdicts, down to the case and the kind of its fault.

    python -m benchmarks.same [TIMES] [CHALLENGE]

Graded are the reference, the starter and a file that is not Python; secret inputs are drawn anew each time.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from benchmarks.options import add_challenge, many, parser
from grader.content import load_challenge
from grader.judge import grade_source, start_sandbox
from grader.judge.result import Result

Verdict = tuple[tuple[str, str, str | None], ...]


def main() -> int:
    """Print one line per file; the status is 1 when two verdicts on one file differ."""
    options = parser(__doc__)
    options.add_argument("times", nargs="?", type=many, default=100, metavar="TIMES")
    add_challenge(options)
    given = options.parse_args()
    times, challenge = given.times, load_challenge(given.challenge)
    files = {
        "reference": challenge.reference.read_bytes(),
        "starter": challenge.starter.read_bytes(),
        "not Python": b"def f(:\n",
    }
    different = 0
    with start_sandbox(challenge) as sandbox:
        for name, source in files.items():
            began = time.monotonic()
            seen = Counter(
                verdict_of(grade_source(challenge, source, sandbox=sandbox)) for _ in range(times)
            )
            different += len(seen) - 1
            each = (time.monotonic() - began) / times
            print(f"{name}: {times} gradings, {len(seen)} verdict ({each:.2f} s each)", flush=True)
            if len(seen) > 1:
                tell(list(seen))
    return 1 if different else 0


def verdict_of(result: Result) -> Verdict:
    """What must be the same each time; the numbers of fresh inputs are not."""
    cases = [
        (case.id, case.status, case.cause.kind if case.cause else None) for case in result.cases
    ]
    return (("", result.verdict, str(result.score)), *cases)


def tell(verdicts: list[Verdict]) -> None:
    """Print where the verdicts differ from the first."""
    for other in verdicts[1:]:
        for one, two in zip(verdicts[0], other, strict=True):
            if one != two:
                print(f"    {one} and {two}")


if __name__ == "__main__":
    sys.exit(main())
