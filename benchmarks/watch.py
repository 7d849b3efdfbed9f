"""From a save to its verdict in `kvdojo watch`: `python -m benchmarks.watch [CHALLENGE] [SAVES]`.

Every save renames a new file over the old one, as editors do, and moves a bug in or out. The clock runs from the rename
to the line with the verdict. A file that passes is asked secret inputs and random scenarios, too. Between two saves
passes `--think`, 2 s unless told otherwise, in which the answers to these are made; with 0 they are made while the file
is asked. A cold `kvdojo grade` of the file that fails, in the same run, is there for comparison.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.options import add_challenge, add_think, many, parser
from grader.content import load_challenge
from grader.ground.files import write_atomically

PROGRAM = [sys.executable, "-m", "grader"]


def main() -> int:
    """Print the median over some saves, apart for those that pass, and a cold grading."""
    options = parser(__doc__)
    add_challenge(options)
    options.add_argument("saves", nargs="?", type=many, default=20, metavar="SAVES")
    add_think(options)
    given = options.parse_args()
    name, saves = given.challenge, given.saves
    challenge = load_challenge(name)
    texts = [challenge.starter.read_text("utf-8"), challenge.reference_text]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / challenge.file
        path.write_text(texts[0], "utf-8")
        cold = grade_once(name, path)
        times = watch(name, path, texts, saves, given.think)
    for kind, some in (("passes", times[::2]), ("fails", times[1::2])):
        if some:
            middle, least, most = statistics.median(some), min(some), max(some)
            print(
                f"{name}, {len(some)} saves of a file that {kind}: median {middle:.3f} s, "
                f"fastest {least:.3f}, slowest {most:.3f}"
            )
    print(f"cold `kvdojo grade` of the one that fails: {cold:.2f} s; load {os.getloadavg()[0]:.1f}")
    return 0


def grade_once(name: str, path: Path) -> float:
    """Time one grading from nothing."""
    began = time.perf_counter()
    subprocess.run([*PROGRAM, "grade", name, path], stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def watch(name: str, path: Path, texts: list[str], saves: int, think: float) -> list[float]:
    """Save `saves` times under a running watch and return the seconds until each verdict."""
    watching = subprocess.Popen(
        [*PROGRAM, "watch", name, path], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert watching.stdout is not None
    times = []
    try:
        wait(watching.stdout, path.name)
        for number in range(saves):
            time.sleep(think)
            content = f"{texts[(number + 1) % 2]}\n# save {number}\n"
            began = time.perf_counter()
            write_atomically(path, content)
            wait(watching.stdout, path.name)
            times.append(time.perf_counter() - began)
    finally:
        watching.terminate()
        watching.wait()
    return times


def wait(lines: Iterable[str], name: str) -> None:
    """Read until the next verdict."""
    for line in lines:
        if line.startswith(f"{name}: ") and " passed " in line:
            return
    raise SystemExit("the watch has ended")


if __name__ == "__main__":
    sys.exit(main())
