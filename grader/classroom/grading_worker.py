"""What a worker process does: hold a challenge and a warm sandbox, and grade one file after the other.

It runs in a process of our own, here or on another machine, and never in the one that keeps the books.
Submissions run in the sandbox's confined workers exactly as under `kvdojo grade`.
"""

from __future__ import annotations

import gc
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from grader.classroom.fingerprint import fingerprint
from grader.content import Challenge, ContentError, load_challenge
from grader.judge import GraderError, grade_source, start_sandbox
from grader.judge.golden import Golden
from grader.judge.golden_check import prepare
from grader.judge.replay import to_record
from grader.judge.result import Result
from grader.judge.sandbox_start import unconfined
from grader.judge.secret_inputs import SecretInputs
from grader.sandbox import Sandbox

_starting = threading.Lock()


@dataclass(frozen=True)
class GradingJob:
    """One submission on its way; `fingerprint` is the content it must be judged by."""

    id: str
    challenge: str
    fingerprint: str
    file: str
    source: bytes
    isolate: bool = True


@dataclass(frozen=True)
class JobAnswer:
    """What came of a job: a result document, or the content that this worker has instead."""

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


def grade(job: GradingJob) -> JobAnswer:
    """Grade one file, unless this machine would measure it by other content than was asked for."""
    worker = _address()
    try:
        state = worker_state(job)
    except ContentError as error:
        return JobAnswer(None, f"none: {error}", worker)
    if state.fingerprint != job.fingerprint:
        return JobAnswer(None, state.fingerprint, worker)
    result = _judge(state, job)
    if result.verdict == "error":
        # our side failed: once more, with everything started anew
        result = _judge(_replaced(state, job), job)
    return JobAnswer(to_record(result), state.fingerprint, worker)


def _judge(state: WorkerState, job: GradingJob) -> Result:
    return grade_source(
        state.challenge,
        job.source,
        filename=job.file,
        sandbox=state.sandbox,
        golden=state.golden,
        secret_inputs=state.secret_inputs,
        parallel=1,  # files are graded side by side, which needs no second worker for each
    )


def _replaced(state: WorkerState, job: GradingJob) -> WorkerState:
    with _starting:
        if _state_for(job) is state:
            # another thread of a Dask worker may still use it: its file is then judged once more, too
            state.secret_inputs.close()
            state.sandbox.close()
            _state.cache_clear()
        return _state_for(job)


def worker_state(job: GradingJob) -> WorkerState:
    """Return the kit of this process for such a file; the first call makes it."""
    with _starting:
        return _state_for(job)


def _state_for(job: GradingJob) -> WorkerState:
    # what few files import is not held in the memory that is copied for every file
    return _state(job.challenge, job.isolate, unconfined(job.source))


@lru_cache(maxsize=2)
def _state(name: str, isolate: bool, modules: tuple[str, ...]) -> WorkerState:
    challenge = load_challenge(name)
    # read before the files are: should they change in between, the answers are refused
    mark = fingerprint(challenge)
    sandbox = start_sandbox(challenge, isolate=isolate, modules=modules)
    golden = prepare(challenge)
    sandbox.ready()
    if isolate and not sandbox.isolated:
        raise NotIsolated(sandbox.notice or "submissions cannot be isolated here")
    gc.freeze()  # what serves every file need not be looked through for each
    return WorkerState(challenge, mark, golden, sandbox, SecretInputs(sandbox, challenge, golden))


def _address() -> str:
    """Return the name of the Dask worker this runs in; empty elsewhere."""
    import sys

    distributed = sys.modules.get("distributed")
    if distributed is None:
        return ""
    try:
        return str(distributed.get_worker().address)
    except ValueError:
        return ""
