"""Many gradings in a row of honest, wrong and hostile files: no wrong verdict, and nothing left behind.

    python -m benchmarks.soak [COUNT]

Processes, descriptors and temporary files are counted before and after.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.options import many, parser
from grader.content import load_challenge
from grader.judge import grade_source, start_sandbox
from grader.judge.result import Result

NAME = "multi_head_attention"
TESTS = Path(__file__).resolve().parents[1] / "tests"
HONEST = TESTS / "attacks" / "honest"


def corpus() -> list[tuple[Path, bool]]:
    """Files with what their verdict must be: true for a pass."""
    good = [*(TESTS / "correct" / NAME).glob("*.py"), *HONEST.glob("*.py")]
    bad = [*(TESTS / "wrong" / NAME).glob("*.py"), *(TESTS / "attacks" / "programs").glob("*.py")]
    return [(path, True) for path in sorted(good)] + [(path, False) for path in sorted(bad)]


def source_of(path: Path) -> bytes:
    """The file to grade; attacks and odd files are fragments that go behind a whole one."""
    if TESTS / "attacks" not in path.parents:
        return path.read_bytes()
    fragment = path.read_text("utf-8")
    whole = load_challenge(NAME).reference_text
    if path.parent != HONEST and "\n# base: reference\n" not in fragment:
        whole = (
            (TESTS / "attacks" / "base.py").read_text("utf-8").replace("@ROOT@", str(TESTS.parent))
        )
    return f"{whole}\n\n{fragment}".encode()


def counts() -> dict[str, int]:
    """What a leak would make grow."""
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "processes": len(descendants(os.getpid())),
        "temporary files": len(os.listdir(tempfile.gettempdir())),
    }


def descendants(root: int) -> list[int]:
    """Process ids below `root`."""
    parents: dict[int, int] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(entry)] = int(fields[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def reason_of(result: Result) -> str:
    """Say in one line what decided a verdict, with what is needed to repeat it."""
    told = [f"{case.id} {case.cause.rationale}" for case in result.cases if case.cause]
    told += [f"random scenario {result.random.smallest}"] if result.random.failed else []
    told += [f"secret seeds {dict(result.secrets)}"] if result.secrets else []
    return "; ".join(told) or "nothing failed"


def main() -> int:
    """Print what was graded and what grew; the status is 1 when a verdict is wrong or something leaks."""
    options = parser(__doc__)
    options.add_argument("count", nargs="?", type=many, default=300, metavar="COUNT")
    count = options.parse_args().count
    files = corpus()
    draw = random.Random(300)
    wrong = []
    tally = {True: 0, False: 0}
    with start_sandbox(load_challenge(NAME)) as sandbox:
        grade_source(NAME, source_of(files[0][0]), sandbox=sandbox)
        before, began = counts(), time.monotonic()
        for _ in range(count):
            good = draw.random() < 0.5  # as many honest files as others, in random order
            path, _ = draw.choice([entry for entry in files if entry[1] is good])
            result = grade_source(NAME, source_of(path), sandbox=sandbox)
            tally[good] += 1
            if (result.verdict == "passed") is not good:
                wrong.append((path.name, result))
        seconds, after = time.monotonic() - began, counts()
    print(
        f"{count} gradings: {tally[True]} of honest files, {tally[False]} of wrong or hostile ones"
    )
    print(f"{len(wrong)} wrong verdicts, {seconds:.0f} s, {count / seconds:.2f}/s")
    for name, number in before.items():
        print(f"{name}: {number} before, {after[name]} after")
    for name, result in wrong[:10]:
        print(f"  {name}: {result.verdict}; {reason_of(result)}")
    return 1 if wrong or after["processes"] > before["processes"] else 0


if __name__ == "__main__":
    sys.exit(main())
