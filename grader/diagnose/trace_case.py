"""Trace one case: run the reference and the submission with a recorder, and find where the two first differ.

Nothing here decides a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from grader.content import Case, Challenge
from grader.diagnose.checkpoints import Checkpoints, load_checkpoints, undefined_methods
from grader.diagnose.compare_outputs import ComparedCheckpoint
from grader.diagnose.compare_steps import all_forgiven, compare_step, outputs_differ
from grader.diagnose.first_divergence import (
    differing,
    first_divergence,
    with_cache_remark,
    without_strays,
)
from grader.diagnose.patterns import StepContext
from grader.diagnose.record_case import StepRecording, record_case
from grader.diagnose.step_facts import step_context, step_facts
from grader.diagnose.trace_model import Divergence, FactPair, Trace, TracedStep
from grader.ground.arrays import Array
from grader.judge.fault_dictionary import lookup, sketch_of
from grader.judge.golden import CaseGolden, Expected, load_golden
from grader.judge.script import CREATE
from grader.sandbox import Reply, Sandbox

DOCUMENT = ".json"  # how the name of a file ends that is no code
NO_CODE = "This file holds tests and computes nothing: there is no first wrong number to find."
SIZES = ("d_model", "num_heads", "head_dim", "hidden_size", "embed_dim", "num_kv_heads")


class _ComparedStep(NamedTuple):
    """One step of both files, and its checkpoints."""

    reference: StepRecording
    submission: StepRecording
    context: StepContext
    compared: list[ComparedCheckpoint]


@np.errstate(invalid="ignore", over="ignore")  # memory that nobody wrote holds any numbers
def trace_case(
    sandbox: Sandbox,
    challenge: Challenge,
    case: Case,
    source: bytes,
    golden: CaseGolden | None = None,
) -> Trace:
    """Return the trace of one case of one file; `golden` is the case's, if it is at hand.

    The trace of a hidden case says nothing about it.  Raises SandboxError and ContentError, when the fault is ours.
    """
    if case.visibility != "public":
        return Trace(challenge.id, case.id, (), None, "A hidden case: its details are not shown.")
    if challenge.file.endswith(DOCUMENT):
        return Trace(challenge.id, case.id, (), None, NO_CODE)
    golden = golden or load_golden(challenge).cases.get(case.id)
    checkpoints = load_checkpoints(challenge)
    oracle = challenge.oracle.read_bytes()
    reference, _ = record_case(sandbox, challenge, case, oracle, checkpoints)
    submission, ended = record_case(sandbox, challenge, case, source, checkpoints)
    if helper := _missing_helper(golden, submission):
        text = f"The case is about `{helper}`, which this file does not have: grading skips it."
        return Trace(challenge.id, case.id, (), None, text)
    undefined = undefined_methods(checkpoints, source.decode("utf-8", "replace"))
    steps = []
    for ours, theirs in zip(reference, submission, strict=False):
        context = step_context(checkpoints, case, ours, _sizes(case))
        compared = compare_step(checkpoints, ours, theirs, context, undefined)
        steps.append(_ComparedStep(ours, theirs, context, compared))
    if ended is None and not any(outputs_differ(step.compared) for step in steps):
        # another way to the right answers is no fault
        steps = [step._replace(compared=all_forgiven(step.compared)) for step in steps]
    if any(differing(step.compared) for step in steps):
        # a checkpoint that only one file reaches counts only where nothing else differs
        steps = [step._replace(compared=without_strays(step.compared)) for step in steps]
    traced = tuple(_traced(case, checkpoints, step) for step in steps)
    return Trace(
        challenge.id, case.id, traced, _divergence(challenge, golden, steps, traced), ended
    )


def _divergence(
    challenge: Challenge,
    golden: CaseGolden | None,
    steps: Sequence[_ComparedStep],
    traced: Sequence[TracedStep],
) -> Divergence | None:
    """Return the first difference of the case, with what the fault dictionary and the steps before it say of it."""
    right_without_cache: set[str] = set()
    for step, traced_step in zip(steps, traced, strict=True):
        first = first_divergence(traced_step, step.compared)
        if first is not None:
            if step.context.held:
                first = with_cache_remark(first, right_without_cache)
            return _with_symptom(first, challenge, golden, step.submission.reply)
        if step.context.held == 0:
            right_without_cache |= {
                item.checkpoint.name for item in step.compared if item.checkpoint.status == "same"
            }
    return None


def _missing_helper(golden: CaseGolden | None, submission: Sequence[StepRecording]) -> str | None:
    """Return the name of a helper that a correct file may lack, if this case needs it and the file lacks it."""
    needs = golden.needs if golden else ()
    problems = [step.reply.problem for step in submission if step.reply and step.reply.problem]
    missing = (item.name for item in problems if item.kind == "missing" and item.name in needs)
    return next(missing, None)


def _with_symptom(
    first: Divergence, challenge: Challenge, golden: CaseGolden | None, reply: Reply | None
) -> Divergence:
    """Add what the fault dictionary knows: the symptom, and the class of the bugs with it, when they agree on one."""
    symptom = _symptom(challenge, golden, first.step, reply)
    known = [bug for bug in challenge.bugs.values() if symptom and bug.symptom == symptom]
    classes = {bug.family for bug in known if bug.kind == "bug"}
    return replace(
        first,
        bug_class=classes.pop() if len(classes) == 1 else first.bug_class,
        looks_like=symptom,
        bug_class_by_place=first.bug_class,
    )


def _symptom(
    challenge: Challenge, golden: CaseGolden | None, step: int, reply: Reply | None
) -> str | None:
    """Look the step's first wrong output up in the fault dictionary."""
    if golden is None or reply is None:
        return None
    expected = golden.steps[step + 1]  # the creation, -1, is the first
    wrong = next((name for name in expected.tensors if _is_wrong(expected, name, reply)), None)
    return lookup(challenge, golden, sketch_of(step, reply, wrong))


def _is_wrong(expected: Expected, name: str, reply: Reply) -> bool:
    want: Array = expected.tensors[name]
    got = reply.tensors.get(name)
    if got is None or got.shape != want.shape or not got.floating:
        return False
    gap = np.abs(got.values.astype(np.float64) - want.values.astype(np.float64))
    return not bool((gap <= expected.tolerances[name]).all())


def _traced(case: Case, checkpoints: Checkpoints, step: _ComparedStep) -> TracedStep:
    index = step.reference.index
    request: Mapping[str, Any] = {"do": "create"} if index == CREATE else case.steps[index]
    sides = (step.reference, step.submission)
    raised = [
        side.reply.raised.types[0]
        if side.reply is not None and side.reply.raised and side.reply.raised.types
        else None
        for side in sides
    ]
    facts = [step_facts(checkpoints, side) for side in sides]
    return TracedStep(
        index=index,
        verb=str(request["do"]),
        title=_title(case, index, request),
        checkpoints=tuple(item.checkpoint for item in step.compared),
        cache_length=_pair([side.cache_length for side in facts]),
        scores=_pair([side.scores for side in facts]),
        weight_sum=_pair([side.weight_sum for side in facts]),
        raised=_pair(raised),
    )


def _title(case: Case, index: int, step: Mapping[str, Any]) -> str:
    """Return what people call a step: `prefill, 5 tokens`, `decode, 1 token`, `chunk, 3 tokens`, or its verb."""
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
        name: size for name, size in case.setup.items() if name in SIZES and isinstance(size, int)
    }
    if "d_model" in setup and "num_heads" in setup:
        setup = {"head_dim": setup["d_model"] // setup["num_heads"], **setup}
    return setup
