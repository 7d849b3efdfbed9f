"""Judge one case in an open session, every step as soon as it is answered; `worker_reuse` chooses the worker."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from grader.content import Case, Challenge
from grader.ground.errors import GraderError
from grader.ground.invocation import command_line
from grader.judge.compare_answers import excess, judge_reply
from grader.judge.failure_causes import (
    malformed,
    raised_cause,
    sentence,
    worker_failure_cause,
)
from grader.judge.fault_dictionary import OutputSketch, lookup, sketch_of
from grader.judge.golden import CaseGolden, Expected
from grader.judge.result import CaseResult, Cause
from grader.judge.script import CREATE, Script
from grader.sandbox import Reply, Request, Session, WorkerFailure

SPARE_BYTES = 4 << 20  # room for a reply of the wrong shape, so that it can be named


@dataclass
class RunInfo:
    """What is known of a run beside its verdict.

    `log` is what the submission printed, `loaded` whether it could be imported; with `measure`, `excess` is the largest
    error seen, in tolerances. `missed` is that of the step that was wrong, which the numbers of its cause belong to.
    """

    log: str = ""
    loaded: bool = False
    measure: bool = False
    excess: float = 0.0
    missed: float = 0.0


@dataclass(frozen=True)
class LeftOut:
    """A helper that a case is about and that the file does not define, as it may."""

    helper: str

    @property
    def why(self) -> str:
        """Why the case is skipped."""
        return f"the file defines no `{self.helper}`, which it need not."


def judge_case(
    session: Session,
    loaded: Reply,
    challenge: Challenge,
    case: Case,
    golden: CaseGolden,
    *,
    seed: int | None = None,
    info: RunInfo,
) -> CaseResult:
    """Return the verdict on one case, in a session that answered `loaded` when it executed the file.

    With a `seed`, the case's inputs are drawn anew from it and `golden` must have been computed for it.
    """
    began = time.monotonic()
    script = Script(challenge, case, seed=seed)
    found = _attempt(session, loaded, challenge, script, golden, info)
    seconds = time.monotonic() - began
    if isinstance(found, LeftOut):
        return replace(CaseResult.skipped(case, found.why), seconds=seconds)
    cause, sketch = found
    if script.fingerprint != golden.fingerprint and cause is None:
        again = command_line("check", challenge.id, "--record")
        raise GraderError(
            f"case {case.id!r}: its inputs are not those the golden was made with"
            f" (run `{again}`, or use the versions in constraints.txt)"
        )
    return CaseResult.judged(case, cause, seconds, sketch)


def _attempt(
    session: Session,
    loaded: Reply,
    challenge: Challenge,
    script: Script,
    golden: CaseGolden,
    info: RunInfo,
) -> tuple[Cause | None, OutputSketch | None] | LeftOut:
    """Ask every step and return the first thing wrong, with the sketch of the wrong output if it is one.

    Requests that depend on no answer are sent ahead (`pipeline`), so that a case of many steps costs few wake-ups of
    the worker; their replies are still judged one after the other, and those behind a wrong one are not looked at.
    """
    if loaded.raised or loaded.problem:
        return _load_cause(loaded), None
    info.loaded = True
    step: int | None = None
    settled = list(script.leading())
    together = session.pipeline(
        (request, _room(request, expected))
        for request, expected in zip(settled, golden.steps, strict=False)
    )
    announced = iter(settled[:together])
    try:
        for index, expected in zip(script.indices, golden.steps, strict=True):
            step = None if index == CREATE else index
            request = next(announced, None) or script.request(index)
            answer = session.ask(request, max_reply_bytes=_room(request, expected))
            reply = script.told(index, answer)
            if info.measure:
                info.excess = max(info.excess, excess(reply, expected))
            if reply.echo and request.earlier:
                request = script.request(index)  # what was changed is compared with what was sent
            if (left_out := _left_out(challenge, golden, reply)) is not None:
                session.drain()
                return left_out
            cause = judge_reply(index, request, reply, expected, script.may_change(request.do))
            if cause:
                session.drain()
                info.missed = excess(reply, expected)
                if expected.raised is not None and cause.help is None:
                    cause = replace(cause, help=malformed(challenge, script.case, index))
                return _recognised(challenge, golden, index, reply, cause)
            script.answered(index, reply)
    except WorkerFailure as failure:
        return worker_failure_cause(step, failure), None
    return None, None


def _load_cause(loaded: Reply) -> Cause:
    """The file could not even be imported."""
    if loaded.problem:
        return Cause(loaded.problem.kind, sentence(loaded.problem.message))
    assert loaded.raised, "called only when something is wrong"
    cause = raised_cause(None, loaded.raised)
    if cause.kind == "raised":
        text = f"The file could not be loaded: {cause.rationale}"
        return Cause("raised", text, cause.help, None, cause.actual, line=cause.line)
    return cause


def _recognised(
    challenge: Challenge, golden: CaseGolden, step: int, reply: Reply, cause: Cause
) -> tuple[Cause, OutputSketch | None]:
    """Add to the cause of a wrong value what it looks like, where a known mistake makes just this output."""
    if cause.kind != "wrong_value" or cause.where is None:
        return cause, None
    seen = sketch_of(step, reply, cause.where.output)
    return replace(cause, looks_like=lookup(challenge, golden, seen)), seen


def _left_out(challenge: Challenge, golden: CaseGolden, reply: Reply) -> LeftOut | None:
    """Return the helper that the worker missed, if a correct file may leave it out and the case is about it."""
    problem = reply.problem
    if problem is None or problem.kind != "missing" or problem.name is None:
        return None
    asked = problem.name in golden.needs and challenge.may_lack(problem.name)
    return LeftOut(problem.name) if asked else None


def _room(request: Request, expected: Expected) -> int:
    """Return how many bytes a reply may have: what is expected and echoed, twice, and room for a wrong shape."""
    return 2 * (request.nbytes + expected.nbytes) + SPARE_BYTES
