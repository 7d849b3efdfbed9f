"""What random scenarios do to files that are known to be right, and to those that are known to be wrong.

No right file may be refused: the reference, it with each decoy, and the files of `tests/correct`.  A scenario that
several of them fail asks what the brief leaves open, and is named as the small case it shrinks to.  How many bugs are
refused is told and fails nothing: bugs are for the cases, which find them every time.

The survey finds which scenarios refuse the most wrong files; recorded, they are the first that a grading runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

from grader.author.wrong_variants import bug_ids, decoy_ids, planted, trivial_solution
from grader.content import Challenge
from grader.content.driver_loading import load_driver
from grader.judge.grading import PARALLEL
from grader.judge.random_scenarios import (
    RandomScenarios,
    Scenario,
    case_document,
    pool_digest,
    smallest,
)
from grader.judge.worker_reuse import SubmissionRunner
from grader.kit.driver import CANDIDATES
from grader.sandbox import Sandbox

HONEST = 12  # scenarios that every right file is asked on each seed; half as many where the reference is slow
SEEDS = (1, 2, 3)
BUGGY = 16  # scenarios that a bug is asked on each seed, up to the first that refuses it
POOL = 48
ENOUGH = 2  # scenarios of the pool that refuse a wrong file, before others of it come first
Faults = Iterator[tuple[str, str]]
Made = TypeVar("Made")


@dataclass
class RandomReport:
    """How many bugs were refused on each seed, of how many; `faults` name what right files failed."""

    bugs: int = 0
    refused: list[int] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)


def random_report(sandbox: Sandbox, challenge: Challenge) -> RandomReport | None:
    """Run random scenarios on all that is known to be right or wrong; None where the driver draws none.

    Half as many where the driver says, by few `candidates`, that its reference is slow.
    """
    if (spec := load_driver(challenge).driver.random) is None:
        return None
    bugs = {name: planted(challenge, name) for name in bug_ids(challenge)}
    found = RandomReport(len(bugs))
    slow = spec.candidates < CANDIDATES
    for seed in SEEDS:
        with closing(RandomScenarios(sandbox, challenge, seed)) as scenarios:
            found.faults += _refused_right_files(scenarios, HONEST // 2 if slow else HONEST)
            most = BUGGY // 2 if slow else BUGGY
            refused = _side_by_side(partial(_first_failure, scenarios, most=most), bugs.values())
        found.refused.append(sum(failed is not None for failed in refused))
    return found


def right_files(challenge: Challenge) -> dict[str, bytes]:
    """Return what is known to be right, by name."""
    folder = challenge.root / "tests" / "correct" / challenge.id
    files: dict[str, bytes] = {"the reference": challenge.reference.read_bytes()}
    files |= {name: planted(challenge, name) for name in decoy_ids(challenge)}
    suffix = Path(challenge.file).suffix
    return files | {path.name: path.read_bytes() for path in sorted(folder.glob(f"*{suffix}"))}


def _refused_right_files(scenarios: RandomScenarios, most: int) -> Faults:
    files = right_files(scenarios.challenge)

    def refused(source: bytes) -> list[int]:
        with SubmissionRunner(scenarios.sandbox, scenarios.challenge, source) as runner:
            return [
                index
                for index in range(most)
                if runner.run(scenarios[index].case, scenarios[index].golden).status != "passed"
            ]

    wrong: dict[int, list[str]] = {}
    for name, found in zip(files, _side_by_side(refused, files.values()), strict=True):
        for index in found:
            wrong.setdefault(index, []).append(name)
    for index, names in wrong.items():
        with SubmissionRunner(scenarios.sandbox, scenarios.challenge, files[names[0]]) as runner:
            failed = runner.run(scenarios[index].case, scenarios[index].golden)
            if failed.status != "failed":
                continue
            case, cause = smallest(scenarios, runner, scenarios[index], failed)
        told = json.dumps(case_document(case))
        why = cause.rationale if cause else ""
        yield (
            names[0],
            f"is right, and random scenario {index} refuses {', '.join(names)} ({why}); let"
            f" `RandomScenarios.asked` leave it out, or mend brief or file: {told}",
        )


def _side_by_side(function: Callable[[bytes], Made], files: Iterable[bytes]) -> list[Made]:
    """Return what a function makes of each file; the work is done in workers, so threads do for all processors."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(function, files))


def _first_failure(scenarios: RandomScenarios, source: bytes, most: int) -> int | None:
    with SubmissionRunner(scenarios.sandbox, scenarios.challenge, source) as runner:
        for index in range(most):
            scenario = scenarios[index]
            if runner.run(scenario.case, scenario.golden).status == "failed":
                return index
    return None


def surveyed(
    sandbox: Sandbox, challenge: Challenge, progress: Callable[[int, int], None] | None = None
) -> bytes | None:
    """Return the text of `recorded/scenarios.json`; None where the driver draws no random scenarios.

    Candidates are run on every bug and every trivial solution.  First come those that refuse files which few others
    refuse: each wrong file is to be refused by `ENOUGH` scenarios before one is taken for the sake of another.
    """
    if (spec := load_driver(challenge).driver.random) is None:
        return None
    with closing(RandomScenarios(sandbox, challenge, seed=0, pool=())) as scenarios:
        wrong = {name: planted(challenge, name) for name in bug_ids(challenge)}
        wrong |= {name: trivial_solution(challenge, name) for name in challenge.trivial_solutions}
        candidates = [scenarios[index] for index in range(spec.candidates)]
        kills: dict[int, set[str]] = {index: set() for index in range(spec.candidates)}
        done = count(1)

        def killers(source: bytes) -> list[int]:
            with SubmissionRunner(sandbox, challenge, source) as runner:
                found = [
                    index
                    for index, item in enumerate(candidates)
                    if runner.run(item.case, item.golden).status == "failed"
                ]
            if progress:
                progress(next(done), len(wrong))
            return found

        for name, found in zip(wrong, _side_by_side(killers, wrong.values()), strict=True):
            for index in found:
                kills[index].add(name)
        order = ranked(kills)[:POOL]
    return pool_bytes(challenge, [candidates[index] for index in order])


def ranked(kills: Mapping[int, set[str]]) -> list[int]:
    """Order scenarios so that the first ones between them refuse as many wrong files as possible, each `ENOUGH` times.

    A scenario that refuses nothing new is worth the number of those it refuses, and less than any that does.
    """
    left, order = dict(kills), list[int]()
    times: dict[str, int] = {}
    while left:

        def worth(index: int) -> tuple[float, int, int]:
            names = kills[index]
            new = sum(2.0 ** -times.get(name, 0) for name in names if times.get(name, 0) < ENOUGH)
            return new, len(names), -index

        best = max(left, key=worth)
        order.append(best)
        for name in left.pop(best):
            times[name] = times.get(name, 0) + 1
    return order


def pool_bytes(challenge: Challenge, chosen: list[Scenario]) -> bytes:
    """Return the text of a pool; equal pools give equal bytes."""
    document = {"made_from": pool_digest(challenge), "choices": [list(s.choices) for s in chosen]}
    head = json.dumps(document["made_from"])
    lines = ",\n".join("  " + json.dumps(choices) for choices in document["choices"])
    return f'{{\n "made_from": {head},\n "choices": [\n{lines}\n ]\n}}\n'.encode()
