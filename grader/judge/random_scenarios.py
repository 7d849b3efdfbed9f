"""Random scenarios: cases that nobody has written, drawn from a secret seed and settled by the reference.

Published cases can be fitted to, and no list of cases is as large as the world.  So a file that passed everything else
is asked whole scripts that the driver's verbs allow (`kit.scenarios`): any sizes, values, layouts, orders of calls and
refused arguments.  Case i depends on the seed and on i alone; for a class all are drawn and settled once.

Which are run: as many as fit into a share of the time that the file's own cases took, and fewer where the reference
settles them for one file alone.  Those come first that `kvdojo check --record` has seen to refuse the most wrong files
(`recorded/scenarios.json`, as choices; their numbers are secret and some of the choices are drawn anew), and every
fourth of them is wholly new.  The first failure ends it: it is made small and shown as an ordinary case.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from grader.content import Case, Challenge, ContentError
from grader.content.driver_loading import load_driver
from grader.judge.golden import CaseGolden
from grader.judge.oracle import WORKERS
from grader.judge.result import CaseResult, Cause, RandomOutcome
from grader.judge.secret_inputs import derived
from grader.judge.settle import DOUBTED_SHAKES, SHAKES, NotSettled, Settled, Settler
from grader.judge.shrink import fewer_items, smaller_choices
from grader.judge.worker_reuse import SubmissionRunner
from grader.kit import VERSION
from grader.kit.choice_sequence import ChoiceSequence
from grader.kit.mistakes import DriverError
from grader.kit.scenarios import random_case
from grader.sandbox import Sandbox

NAME = "random scenarios"  # their seed in a run, beside those of cases; no case can have this id
LEAST, MOST = 8, 60  # cases that are run
MOST_ALONE = 32  # of a file for which the reference settles them while somebody waits
SLOW_SECONDS = (
    20.0  # after so much time even the least number is given up: a slow file is not a wrong one
)
WAIT_SECONDS = (
    6.0  # for the reference, beyond the least number: a kernel in an interpreter takes long
)
SHARE = 0.5  # of the time that the file's own cases took
SHARE_ALONE = 1.0  # where the reference settles scenarios at the same time, which slows the file
SHRINK_SECONDS = 2.5
KEEP_ANEW = 12  # of the choices of a recorded scenario one in so many is drawn anew
FRESH = 4  # one scenario in so many is wholly new
TRIES = 40  # candidates that are drawn for one that the reference settles


@dataclass(frozen=True)
class Scenario:
    """A settled random case, and the choices that make it."""

    case: Case
    golden: CaseGolden
    choices: tuple[int, ...]


@dataclass
class RandomScenarios:
    """The random scenarios of one run, over a file or a class; several threads may ask.

    `pool` are choices that come first, most telling first; by default those that were recorded.  If `quick`, the
    reference settles a scenario only as far as a right answer needs: that is for scenarios that one file alone is
    asked.  Where an answer seems wrong, `certain` is the scenario to judge it by.
    """

    sandbox: Sandbox
    challenge: Challenge
    seed: int
    pool: Sequence[Sequence[int]] | None = None
    quick: bool = False
    _settler: Settler = field(init=False)
    _made: dict[int, Scenario] = field(default_factory=dict)
    _certain: dict[int, Scenario] = field(default_factory=dict)
    _locks: dict[int, threading.Lock] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._settler = Settler(self.sandbox, self.challenge)
        if self.pool is None:
            self.pool = recorded_pool(self.challenge)

    @property
    def there(self) -> bool:
        """Whether the driver says how random scenarios are drawn."""
        return load_driver(self.challenge).driver.random is not None

    def close(self) -> None:
        """End the worker of the reference, if there is one."""
        self._settler.close()

    def __getitem__(self, index: int) -> Scenario:
        """Return scenario `index`; raises IndexError where the reference settles none, and SandboxError."""
        with self._lock_of(index):
            if index not in self._made:
                self._made[index] = self._settled(index, 0 if self.quick else SHAKES)
            return self._made[index]

    def certain(self, index: int) -> Scenario:
        """Return scenario `index` as an answer that seems wrong is judged: allowing for all that rounding may do."""
        with self._lock_of(index):
            if index not in self._certain:
                self._certain[index] = self._settled(index, DOUBTED_SHAKES)
            return self._certain[index]

    def settled(self, case: Case, shakes: int) -> Settled:
        """Settle a case, whose numbers are moved by a rounding `shakes` times; raises NotSettled."""
        return self._settler.settle(case, shakes=shakes)

    def _lock_of(self, index: int) -> threading.Lock:
        """Return what lets one thread at a time make a scenario."""
        return self._locks.setdefault(index, threading.Lock())

    def _settled(self, index: int, shakes: int) -> Scenario:
        for attempt in range(TRIES):
            seed = derived(self.seed, f"{index} {attempt}")
            choose = self._choices(index, seed)
            try:
                found = self.settled(drawn_case(self.challenge, choose, seed), shakes)
            except NotSettled:
                continue
            return Scenario(found.case, found.golden, tuple(choose.taken))
        raise IndexError("the reference settles none of the scenarios that are drawn")

    def _choices(self, index: int, seed: int) -> ChoiceSequence:
        if self.pool and index % FRESH != FRESH - 1:
            place = index - index // FRESH
            known = self.pool[place % len(self.pool)]
            return ChoiceSequence.varied(known, f"{seed}/choices", KEEP_ANEW)
        return ChoiceSequence.seeded(f"{seed}/choices")


def drawn_case(challenge: Challenge, choose: ChoiceSequence, seed: int) -> Case:
    """Return the case that these choices make; raises NotSettled for one that the brief leaves open."""
    driver = load_driver(challenge).driver
    try:
        document = random_case(driver, choose, seed)
    except DriverError as error:  # no legal sizes among those that these choices make
        raise NotSettled(error.message) from None
    if driver.random and not driver.random.asked(document):
        raise NotSettled("the brief leaves it open")
    return case_from(document)


def case_from(document: Any) -> Case:
    """Return a case of what was drawn: setup, dtype, seed and steps."""
    steps = tuple(document["steps"])
    verbs = ", ".join(dict.fromkeys(step["do"] for step in steps))[:80]
    return Case(
        id=f"random-{document['seed'] % 10**8:08}",
        title=f"A random scenario: {verbs}",
        why="Asks what no other case asks; the file and the reference answered differently.",
        points=1,
        kind="scenario",
        visibility="public",
        tags=("random",),
        setup=document["setup"],
        seed=document["seed"],
        dtype=document["dtype"],
        steps=steps,
    )


def case_document(case: Case) -> dict[str, Any]:
    """Return a case as `kvdojo case add` takes it."""
    return {
        "id": case.id,
        "title": case.title,
        "why": case.why,
        "kind": case.kind,
        "tags": list(case.tags),
        "setup": dict(case.setup),
        "seed": case.seed,
        "dtype": case.dtype,
        "steps": [dict(step) for step in case.steps],
    }


def judge_scenarios(
    scenarios: RandomScenarios, runners: Sequence[SubmissionRunner], seconds: float
) -> RandomOutcome:
    """Run scenarios on a file until the first failure or until the time is up; at least a few, whatever they take.

    The time is `seconds` of the file, in all runners together, and `WAIT_SECONDS` for a reference that is slower than
    the file.

    Raises SandboxError, GraderError or ContentError where our side fails.
    """
    asking = _Round(scenarios, seconds)
    # the reference settles the next ones while the file is asked
    with ThreadPoolExecutor(WORKERS) as ahead, ThreadPoolExecutor(len(runners)) as pool:
        for done in [pool.submit(asking.ask, runner, ahead) for runner in runners]:
            done.result()
        ahead.shutdown(cancel_futures=True)  # nobody asks for what is not begun
    if asking.failed is None:
        return RandomOutcome(asking.run)
    _, runner, scenario, result = asking.failed
    case, cause = smallest(scenarios, runner, scenario, result)
    return RandomOutcome(asking.run, 1, case_document(case), cause)


@dataclass
class _Round:
    """How far the scenarios of one file have come; each runner takes the next one.

    `taken` were begun and `run` are done, which took the file `spent` seconds and its runners `waited` for the
    reference.  `failed` is the first that failed, by its number.
    """

    scenarios: RandomScenarios
    seconds: float
    taken: int = 0
    run: int = 0
    spent: float = 0.0
    waited: float = 0.0
    failed: tuple[int, SubmissionRunner, Scenario, CaseResult] | None = None
    _coming: dict[int, Future[Scenario]] = field(default_factory=dict)
    _ended: bool = False
    _lock: Any = field(default_factory=threading.Lock)

    def ask(self, runner: SubmissionRunner, ahead: Executor) -> None:
        """Ask the file of one scenario after the other."""
        try:
            while (coming := self._next(ahead)) is not None:
                asked = time.monotonic()
                try:
                    scenario = coming[1].result()
                except IndexError:
                    return
                waited = time.monotonic() - asked
                result, scenario = self._judged(runner, coming[0], scenario)
                with self._lock:
                    self.run, self.waited = self.run + 1, self.waited + waited
                    self.spent += result.seconds
                    if result.status == "failed" and (
                        self.failed is None or coming[0] < self.failed[0]
                    ):
                        self.failed = coming[0], runner, scenario, result
        finally:
            self._ended = True  # whatever ends one runner ends the others too

    def _next(self, ahead: Executor) -> tuple[int, Future[Scenario]] | None:
        with self._lock:
            if self._ended or self.failed or not self._in_time():
                return None
            index, self.taken = self.taken, self.taken + 1
            for number in range(index, min(index + 1 + WORKERS, self._most)):
                if number not in self._coming:
                    self._coming[number] = ahead.submit(self.scenarios.__getitem__, number)
            return index, self._coming.pop(index)

    def _in_time(self) -> bool:
        if self.taken < LEAST:
            return self.spent < SLOW_SECONDS
        return self.spent < self.seconds and self.waited < WAIT_SECONDS and self.taken < self._most

    @property
    def _most(self) -> int:
        return MOST_ALONE if self.scenarios.quick else MOST

    def _judged(
        self, runner: SubmissionRunner, index: int, scenario: Scenario
    ) -> tuple[CaseResult, Scenario]:
        result = runner.run(scenario.case, scenario.golden)
        if result.status == "failed":
            scenario = self.scenarios.certain(index)
            result = runner.run(scenario.case, scenario.golden)
        return result, scenario


def smallest(
    scenarios: RandomScenarios, runner: SubmissionRunner, found: Scenario, result: CaseResult
) -> tuple[Case, Cause | None]:
    """Make a failing scenario small; another failure on the way counts as this one.

    First most of its steps go, then what is left is made of smaller choices, then single steps and what they say go.
    """
    end = time.monotonic() + SHRINK_SECONDS
    best, cause = found.case, result.cause
    kept: list[int] = []
    spec = load_driver(scenarios.challenge).driver.random
    asked = spec.asked if spec else bool

    def fails(case: Case) -> bool:
        nonlocal best, cause
        if not asked(case_document(case)):
            return False
        try:
            # most are answered rightly, and that is seen without knowing what rounding may do
            for shakes in (0, SHAKES):
                scenario = scenarios.settled(case, shakes)
                again = runner.run(scenario.case, scenario.golden)
                if again.status != "failed":
                    return False
        except (NotSettled, ContentError):
            return False
        best, cause = scenario.case, again.cause
        return True

    def steps_fail(steps: Sequence[Any]) -> bool:
        return fails(_asked(replace(best, steps=tuple(steps))))

    def places_fail(places: list[int]) -> bool:
        nonlocal kept
        failed = fails(_only(whole, places))
        kept = places if failed else kept
        return failed

    def choices_fail(choices: list[int]) -> list[int] | None:
        choose = ChoiceSequence.replayed(choices)
        try:
            case = drawn_case(scenarios.challenge, choose, found.case.seed)
        except (NotSettled, ContentError):
            return None
        return choose.taken if fails(_only(case, kept)) else None

    if not (result.cause and result.cause.kind == "timeout"):  # each try would take as long
        whole = drawn_case(
            scenarios.challenge, ChoiceSequence.replayed(found.choices), found.case.seed
        )
        kept = list(range(len(whole.steps)))
        fewer_items(kept, places_fail, end - SHRINK_SECONDS / 2)
        smaller_choices(found.choices, choices_fail, end - SHRINK_SECONDS / 4)
        # an earlier step that a later one builds on can go once that no longer says so
        while time.monotonic() < end and any(map(steps_fail, _with_less_said(best.steps))):
            pass
        fewer_items(best.steps, steps_fail, end)
    return best, cause


def _only(case: Case, places: Sequence[int]) -> Case:
    """Return a case with the steps at these places alone, as far as it has them."""
    steps = case.steps
    return replace(case, steps=tuple(steps[at] for at in places if at < len(steps)))


def _with_less_said(steps: Sequence[Any]) -> Iterator[list[Any]]:
    """Give the steps with one text left out of one of them: the name of an earlier answer, or of its own."""
    for index, step in enumerate(steps):
        for name in [key for key, said in step.items() if isinstance(said, str) and key != "do"]:
            less = {key: said for key, said in step.items() if key != name}
            yield [*steps[:index], less, *steps[index + 1 :]]


def _asked(case: Case) -> Case:
    """Return a settled case as it was before the reference said what must be refused."""
    steps = ({key: said for key, said in step.items() if key != "raises"} for step in case.steps)
    return replace(case, steps=tuple(steps))


def recorded_pool(challenge: Challenge) -> list[list[int]]:
    """Return the choices that were recorded as the most telling first; none where they were made for another driver."""
    path = challenge.scenario_pool
    try:
        document = json.loads(path.read_bytes())
        fits = document["made_from"] == pool_digest(challenge)
        return [[int(x) for x in choices] for choices in document["choices"]] if fits else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def pool_digest(challenge: Challenge) -> str:
    """Digest of what a recorded pool follows from: choices mean something else to another driver."""
    return sha256(b"%d" % VERSION + challenge.driver).hexdigest()[:32]
