"""In a worker process: hold a challenge and a warm sandbox, and grade one file after the other.

The process is ours, here or on another machine, and never the one that keeps the books.  Submissions run in the
sandbox's confined workers exactly as under `kvdojo grade`.
"""

from __future__ import annotations

import gc
import sys
import threading
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeAlias

from grader.classroom.fingerprint import fingerprint
from grader.content import Challenge, ContentError, load_challenge
from grader.content.generated_bugs import GeneratedBugs, read_generated, with_generated
from grader.content.handed_in import source_of
from grader.judge import GraderError, grade_source, start_sandbox
from grader.judge.focus import choose_focus
from grader.judge.golden import Golden
from grader.judge.golden_check import prepare
from grader.judge.random_scenarios import NAME as RANDOM
from grader.judge.random_scenarios import RandomScenarios
from grader.judge.replay import to_record
from grader.judge.result import Result
from grader.judge.sandbox_start import modules_to_preload
from grader.judge.secret_inputs import SecretInputs
from grader.sandbox import Sandbox

MOST_STATES = 2  # kept at a time; each holds a process that has imported torch


@dataclass(frozen=True)
class GradingJob:
    """One submission on its way; `fingerprint` is that of the content it must be judged by.

    `seed` is that of the batch: the secret inputs of the whole class follow from it.  `inside` asks where a file that
    fails departs from the reference.  `own_bugs` are the generated bugs that the file began with, by id; empty where
    that is not known, and None where it began with bugs of the catalogue.
    """

    id: str
    challenge: str
    fingerprint: str
    file: str
    source: bytes
    seed: int
    isolate: bool = True
    inside: bool = False
    own_bugs: tuple[str, ...] | None = None


@dataclass(frozen=True)
class JobAnswer:
    """What came of a job: a result document, or None and the fingerprint of the content that this worker has."""

    document: dict[str, Any] | None
    fingerprint: str
    worker: str = ""


class NotIsolated(GraderError):
    """This machine cannot confine submissions, so other people's files are not graded on it."""


@dataclass(frozen=True)
class WorkerState:
    """What is made once and serves every file."""

    challenge: Challenge
    fingerprint: str
    golden: Golden
    sandbox: Sandbox
    secret_inputs: SecretInputs
    scenarios: RandomScenarios

    @cached_property
    def generated(self) -> GeneratedBugs:
        """The generated bugs, read when the first file that has some is graded."""
        return read_generated(self.challenge)

    def challenge_with(self, own_bugs: tuple[str, ...] | None) -> Challenge:
        """Return the challenge as the learner who began with these generated bugs knows it."""
        if not own_bugs:
            return self.challenge
        return with_generated(self.challenge, [self.generated.bugs[name].bug for name in own_bugs])

    def close(self) -> None:
        """End the sandbox."""
        self.secret_inputs.close()
        self.scenarios.close()
        self.sandbox.close()


# the challenge, the batch's seed, whether files are isolated, and modules that few files need and that are imported for
# these alone: otherwise they would be in the memory that is copied for every file
Key: TypeAlias = tuple[str, int, bool, tuple[str, ...]]

_states: dict[Key, WorkerState] = {}  # the one used last stands last
_lock = threading.Lock()  # a Dask worker may grade in several threads


def grade(job: GradingJob) -> JobAnswer:
    """Grade one file, unless this machine would measure it by other content than was asked for."""
    worker = _dask_address()
    try:
        state = worker_state(job)
    except ContentError as error:
        return JobAnswer(None, f"none: {error}", worker)
    if state.fingerprint != job.fingerprint:
        return JobAnswer(None, state.fingerprint, worker)
    result = _judge(state, job)
    if result.verdict == "error":
        # our side failed: once more, with everything started anew
        result = _judge(_replace(state, job), job)
    return JobAnswer(to_record(result), state.fingerprint, worker)


def worker_state(job: GradingJob) -> WorkerState:
    """Return the state of this process for such a file; the first call makes it."""
    with _lock:
        return _state_for(job)


def close_worker() -> None:
    """End all sandboxes of this process."""
    with _lock:
        while _states:
            _states.popitem()[1].close()


def _judge(state: WorkerState, job: GradingJob) -> Result:
    challenge = state.challenge_with(job.own_bugs)
    result = grade_source(
        challenge,
        job.source,
        filename=job.file,
        sandbox=state.sandbox,
        golden=state.golden,
        secret_inputs=state.secret_inputs,
        scenarios=state.scenarios,
        parallel=1,  # files are graded side by side, which needs no second worker for each
        afterwards=partial(_with_first_divergence, challenge, job) if job.inside else None,
    )
    return _with_own_bugs(result, job)


def _with_own_bugs(result: Result, job: GradingJob) -> Result:
    """Return the result with no word of bugs that the file did not begin with, where that is known."""
    if job.own_bugs is None:
        return result
    return replace(result, bugs=tuple(bug for bug in result.bugs if bug.id in job.own_bugs))


def _with_first_divergence(
    challenge: Challenge, job: GradingJob, sandbox: Sandbox, golden: Golden, result: Result
) -> Result:
    """Add to the case in focus of a file that failed where the run departs from the reference."""
    if result.verdict != "failed":
        return result
    # most batches do not even read the code that traces
    from grader.diagnose.explain_failures import with_first_divergence

    text = source_of(job.source, job.file, challenge.file)
    focus = choose_focus(challenge, result, job.own_bugs)
    return with_first_divergence(sandbox, challenge, golden, text, result, focus)


def _replace(state: WorkerState, job: GradingJob) -> WorkerState:
    """Return a new state in place of one that failed.

    Another thread may still grade with the old one: its file then comes out as an error and is judged once more, too.
    """
    with _lock:
        if _states.get(_key(job)) is state:
            del _states[_key(job)]
            state.close()
        return _state_for(job)


def _key(job: GradingJob) -> Key:
    return job.challenge, job.seed, job.isolate, modules_to_preload(job.source)


def _state_for(job: GradingJob) -> WorkerState:
    key = _key(job)
    state = _states.pop(key, None)
    if state is None:
        while len(_states) >= MOST_STATES:
            _states.pop(next(iter(_states))).close()
        state = _make_state(*key)
    _states[key] = state
    return state


def _make_state(name: str, seed: int, isolate: bool, modules: tuple[str, ...]) -> WorkerState:
    challenge = load_challenge(name)
    # read before the files are: should they change in between, the answers are refused
    mark = fingerprint(challenge)
    sandbox = start_sandbox(challenge, isolate=isolate, modules=modules)
    try:
        golden = prepare(challenge)
        sandbox.ready()
        if isolate and not sandbox.isolated:
            raise NotIsolated(sandbox.notice or "submissions cannot be isolated here")
    except BaseException:
        sandbox.close()
        raise
    gc.freeze()  # what serves every file need not be looked through for each
    inputs = SecretInputs(sandbox, challenge, golden, seed=seed)
    scenarios = RandomScenarios(sandbox, challenge, inputs.seed_of(RANDOM))
    return WorkerState(challenge, mark, golden, sandbox, inputs, scenarios)


def _dask_address() -> str:
    """Return the name of the Dask worker this runs in; empty elsewhere."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return ""
    try:
        return str(distributed.get_worker().address)
    except ValueError:
        return ""
