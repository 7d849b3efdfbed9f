"""The arena's marks and pace: wrong marks of the scripted agents, and gradings a second in one warm process.

    python -m benchmarks.arena                                  2 tasks of each challenge, 60 gradings of one
    python -m benchmarks.arena --tasks 200 --gradings 1000      takes about an hour on two cores
    python -m benchmarks.arena static_cache --tasks 20

A mark is wrong when it is not the one that the agent is known to earn; each is printed.  The exit status is 1 then.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from grader.arena.arena_task import SealedTask
from grader.arena.bench import Benches
from grader.arena.desk import Attempt, Desk
from grader.arena.draw_tasks import DrawnTask, DrawOptions, Pool, checked_options, draw_task
from grader.arena.marks import Marks
from grader.arena.scorer import KnownTask, Scorer
from grader.arena.scripted_agents import SCRIPTED, work
from grader.content import Catalogue
from grader.ground.errors import UserError

# two for each of two processors: a file's worker waits while an answer of it is judged
THREADS = 4
MOST_PRECISION = 0.35  # of a pasted reference


def main() -> int:
    """Draw, mark and time; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("challenges", nargs="*")
    parser.add_argument("--tasks", type=int, default=2, help="of each challenge")
    parser.add_argument("--gradings", type=int, default=60, help="that are timed; 0 for none")
    parser.add_argument("--key", help="in hexadecimal, to repeat a run; drawn unless given")
    given = parser.parse_args()
    key = bytes.fromhex(given.key) if given.key else secrets.token_bytes(32)
    print(f"key {key.hex()}")
    known = Catalogue()
    python = [name for name in known.ids() if known.load(name).reference.suffix == ".py"]
    wrong = judged = 0
    for name in given.challenges or python:
        with Benches(known) as benches:
            pool = Pool.of(known.load(name))
            options = checked_options(pool.challenge, pool.generated, DrawOptions())
            scorer, tasks = Scorer(benches), []
            began = time.monotonic()
            for index in range(given.tasks):
                try:
                    tasks.append(draw_task(benches.of(name), pool, key, index, options))
                except UserError as error:
                    print(f"  {error}")
            drawing = time.monotonic() - began
            for task in tasks:
                for line in _wrong_marks(benches, scorer, task):
                    print(f"  {line}", flush=True)
                    wrong += 1
                judged += len(SCRIPTED)
            print(
                f"{name}: {len(tasks)} tasks, {drawing / max(len(tasks), 1):.1f} s to draw one;"
                f" {wrong} wrong marks so far",
                flush=True,
            )
            if given.gradings and tasks and name == (given.challenges or python)[0]:
                _time(benches, tasks, given.gradings)
    print(f"{judged} attempts, {wrong} wrong marks")
    return 1 if wrong else 0


def _wrong_marks(benches: Benches, scorer: Scorer, task: DrawnTask) -> Iterator[str]:
    """Let every scripted agent work on a task, and yield each mark that is not the one it earns."""
    known = scorer.known(task.sealed)
    bench = benches.of(task.public.challenge)
    for name, agent in SCRIPTED.items():
        attempt, failed = work(agent, Desk(task.public, bench), known.file)
        marks = scorer.score(task.sealed, attempt)
        if failed is not None:
            yield f"{task.public.id} {name}: ended in {failed}"
        for mark, want, got in _differences(name, marks, task.sealed, known):
            states = {bug.id: bug.status for bug in marks.bugs}
            yield f"{task.public.id} {name}: {mark} is {got}, not {want}; {states}"


def _differences(
    agent: str, marks: Marks, task: SealedTask, known: KnownTask
) -> Iterator[tuple[str, object, object]]:
    """Yield the marks that differ from those that an agent earns: name, what is due, what was given."""
    bugs, passing = len(task.bugs), len(known.passing)
    due: dict[str, dict[str, object]] = {
        "everything": {"verdict": "passed", "recall": 1.0, "precision": 1.0, "reward": 1.0},
        "one-fix": {"verdict": "failed", "recall": 1 / bugs, "precision": 1.0},
        "paste-reference": {"verdict": "passed", "recall": 1.0, "decoys_touched": marks.decoys},
        "mend-decoys": {"verdict": "failed", "recall": 0.0, "decoys_touched": marks.decoys},
        "nothing": {"verdict": "failed", "recall": 0.0, "changed": 0},
        "vandal": {"verdict": "failed", "recall": 0.0, "regressions": passing, "false_fixes": bugs},
    }
    usual = {"decoys_touched": 0, "false_fixes": 0, "regressions": 0}
    for mark, want in {**usual, **due[agent]}.items():
        if (got := getattr(marks, mark)) != want:
            yield mark, want, got
    if agent == "paste-reference" and marks.precision > MOST_PRECISION:
        yield "precision", f"at most {MOST_PRECISION}", marks.precision
    if agent == "everything" and marks.localisation != 1.0:
        yield "localisation", 1.0, marks.localisation


def _time(benches: Benches, tasks: list[DrawnTask], count: int) -> None:
    """Mark files in a warm process, some at a time: the mix that an evaluation has, most of them not solved."""
    scorer = Scorer(benches, parallel=1)
    jobs: list[tuple[SealedTask, Attempt]] = []
    for number in range(count):
        task = tasks[number % len(tasks)]
        file = scorer.known(task.sealed).file
        texts = (file.source, file.without(file.planting.bugs[0]), file.mended)
        jobs.append((task.sealed, Attempt(texts[number // len(tasks) % 3].encode(), edits=1)))
    scorer.score(*jobs[-1])
    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        marks = list(pool.map(lambda job: scorer.score(*job), jobs))
    seconds = time.monotonic() - began
    solved = sum(one.solved for one in marks)
    print(f"{count} gradings, {solved} of them solved: {count / seconds:.1f} a second")


if __name__ == "__main__":
    sys.exit(main())
