"""Trace one case: run the reference and the submission with a recorder, compare, and say where they first part.

Nothing here decides a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grader.content import Case, Challenge
from grader.diagnose.checkpoints import Checkpoints, lacking, load_checkpoints
from grader.diagnose.compare_outputs import ComparedCheckpoint
from grader.diagnose.compare_steps import agreed, compare_step, spoiled
from grader.diagnose.first_divergence import first_of, quiet, since_the_cache, wrong
from grader.diagnose.record_case import StepRecording, record_case
from grader.diagnose.step_facts import context, step_facts
from grader.diagnose.trace_model import Divergence, FactPair, Trace, TracedStep
from grader.judge.fault_dictionary import lookup, sketch_of
from grader.judge.golden import CaseGolden, load_golden
from grader.sandbox import Sandbox

CREATE = -1
DOCUMENT = ".json"  # how the name of a file ends that is no code
NO_CODE = "This file holds tests and computes nothing: there is no first wrong number to find."
TRACED = ("d_model", "num_heads", "head_dim", "hidden_size", "embed_dim", "num_kv_heads")


@np.errstate(invalid="ignore", over="ignore")  # memory that nobody wrote holds any numbers
def trace_case(
    sandbox: Sandbox,
    challenge: Challenge,
    case: Case,
    source: bytes,
    golden: CaseGolden | None = None,
) -> Trace:
    """Return the trace of one case of one file; `golden` is the case's, if it is at hand.

    Of a hidden case nothing is told.  Raises SandboxError and ContentError, when the fault is ours.
    """
    if case.visibility != "public":
        return Trace(challenge.id, case.id, (), None, "A hidden case: its details are not shown.")
    if challenge.file.endswith(DOCUMENT):
        return Trace(challenge.id, case.id, (), None, NO_CODE)
    golden = golden or load_golden(challenge).cases.get(case.id)
    points = load_checkpoints(challenge)
    right, _ = record_case(sandbox, challenge, case, challenge.oracle.read_bytes(), points)
    made, ended = record_case(sandbox, challenge, case, source, points)
    if helper := _absent_helper(golden, made):
        text = f"The case is about `{helper}`, which this file does not have: grading skips it."
        return Trace(challenge.id, case.id, (), None, text)
    sizes, absent = _sizes(case), lacking(points, source.decode("utf-8", "replace"))
    walks = [
        (
            ours,
            theirs,
            compare_step(points, ours, theirs, context(points, case, ours, sizes), absent),
        )
        for ours, theirs in zip(right, made, strict=False)
    ]
    if ended is None and not any(spoiled(compared) for _, _, compared in walks):
        # other roads to the right answers are no faults
        walks = [(ours, theirs, agreed(compared)) for ours, theirs, compared in walks]
    if any(wrong(compared) for _, _, compared in walks):
        # one visit more or less is news only where nothing else is
        walks = [(ours, theirs, quiet(compared)) for ours, theirs, compared in walks]
    steps: list[TracedStep] = []
    first: Divergence | None = None
    fresh: set[str] = set()  # points that were right in a step without a cache
    for ours, theirs, compared in walks:
        step = _step(challenge, case, points, ours, theirs, compared)
        held = context(points, case, ours, sizes).held
        if first is None and (first := first_of(step, compared)) is not None:
            first = since_the_cache(first, fresh) if held else first
            symptom = _symptom(challenge, golden, first, theirs)
            first = _named(first, symptom, challenge)
        steps.append(step)
        if held == 0:
            fresh |= {item.point.name for item in compared if item.point.status == "same"}
    return Trace(challenge.id, case.id, tuple(steps), first, ended)


def _absent_helper(golden: CaseGolden | None, made: Sequence[StepRecording]) -> str | None:
    """Name a helper that a correct file may lack and this case needs, if the file lacks it."""
    needs = golden.needs if golden else ()
    problems = [notes.reply.problem for notes in made if notes.reply and notes.reply.problem]
    lacked = (item.name for item in problems if item.kind == "missing" and item.name in needs)
    return next(lacked, None)


def _symptom(
    challenge: Challenge, golden: CaseGolden | None, first: Divergence, notes: StepRecording
) -> str | None:
    """Ask the fault dictionary about the step's first wrong output."""
    if golden is None or notes.reply is None:
        return None
    expected = golden.steps[first.step + 1]
    for name, want in expected.tensors.items():
        got = notes.reply.tensors.get(name)
        if got is None or got.shape != want.shape or not got.floating:
            continue
        gap = np.abs(got.values.astype(np.float64) - want.values.astype(np.float64))
        if not (gap <= expected.tolerances[name]).all():
            return lookup(challenge, golden, sketch_of(first.step, notes.reply, name))
    return None


def _named(first: Divergence, symptom: str | None, challenge: Challenge) -> Divergence:
    """Take the family of the mistakes with this symptom, when they agree on one."""
    known = [bug for bug in challenge.bugs.values() if symptom and bug.symptom == symptom]
    families = {bug.family for bug in known if bug.kind == "bug"}
    family = families.pop() if len(families) == 1 else first.family
    return Divergence(
        first.step, first.step_title, first.point, family, symptom, first.stage, first.family
    )


def _step(
    challenge: Challenge,
    case: Case,
    points: Checkpoints,
    ours: StepRecording,
    theirs: StepRecording,
    compared: Sequence[ComparedCheckpoint],
) -> TracedStep:
    step: Mapping[str, Any] = {"do": "create"} if ours.index == CREATE else case.steps[ours.index]
    raised = [
        reply.raised.types[0] if reply is not None and reply.raised and reply.raised.types else None
        for reply in (ours.reply, theirs.reply)
    ]
    both = [step_facts(points, notes) for notes in (ours, theirs)]
    return TracedStep(
        index=ours.index,
        verb=str(step["do"]),
        title=_title(challenge, case, ours.index, step),
        points=tuple(item.point for item in compared),
        cache_length=_pair([facts.cache_length for facts in both]),
        scores=_pair([facts.scores for facts in both]),
        weight_sum=_pair([facts.weight_sum for facts in both]),
        raised=FactPair(raised[0], raised[1]) if any(raised) else None,
    )


def _title(challenge: Challenge, case: Case, index: int, step: Mapping[str, Any]) -> str:
    tokens = step.get("tokens")
    if not isinstance(tokens, int) or isinstance(tokens, bool):
        return str(step["do"])
    amount = f"{tokens} token" + ("s" if tokens != 1 else "")
    kept = any("cache" in other or "live" in other for other in case.steps)
    earlier = any(other["do"] == step["do"] for other in case.steps[: max(index, 0)])
    behind = "cache" in step or "live" in step if kept or not earlier else True
    word = "prefill" if not behind else ("decode" if tokens == 1 else "chunk")
    return f"{word}, {amount}" if step["do"] == "forward" else f"{step['do']}, {amount}"


def _pair(values: Sequence[str | None]) -> FactPair | None:
    return FactPair(values[0], values[1]) if any(value is not None for value in values) else None


def _sizes(case: Case) -> dict[str, int]:
    setup = {
        name: size for name, size in case.setup.items() if name in TRACED and isinstance(size, int)
    }
    if "d_model" in setup and "num_heads" in setup:
        setup = {"head_dim": setup["d_model"] // setup["num_heads"], **setup}
    return setup
