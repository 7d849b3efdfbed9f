"""Say why a call gave no answer that could be compared, as the `Cause` of a case.

There are three such ends: the submission raised (`raised_cause`, also what the sandbox refused and memory that ran out
in Python), the driver's code beside it could make no use of what came back (`problem_cause`), or the worker gave no
answer at all (`worker_failure_cause`: the deadline, the memory limit, a process that ended).  What is wrong with an
answer that can be compared is said in `compare_answers`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from grader.content import Case, Challenge
from grader.content.driver_loading import load_driver
from grader.ground.invocation import command_line
from grader.judge.result import Cause, Where
from grader.kit.driver import STEP_KEYS
from grader.sandbox import Problem, Raised, WorkerFailure

# an answer that is no frame at all comes from code that wrote into the worker's pipes: it ended its own process;
# and who kills a worker from outside of the sandbox is the kernel, when the machine runs out of memory
KIND_OF_FAILURE: Mapping[str, str] = {"protocol": "crashed", "killed": "memory"}
HELP: Mapping[str, str] = {
    "timeout": "Look for a loop that never ends, or for work that grows with the square of the length.",
    "memory": "Look for a tensor that is far larger than its inputs.",
}
MOST_STATED, MOST_TEXT = 4, 60  # entries of a step that a message names, and characters of each
# kinds of a problem that are kinds of a cause
PROBLEMS = ("wrong_value", "wrong_shape", "wrong_dtype", "missing", "mutated_input")


def raised_cause(step: int | None, raised: Raised) -> Cause:
    """Describe an exception that should not have been raised; `step` is None before the first step."""
    name = raised.types[0] if raised.types else "an exception"
    if "MemoryError" in raised.types:
        text = "The memory limit was reached."
        actual = raised.message or name
        where = Where(step)
        return Cause("memory", text, line_of(raised), actual=actual, where=where, line=raised.line)
    if raised.blocked:
        text = "The file tried something a submission may not do, and was refused."
        actual = f"{name}: {raised.message}"
        where = Where(step)
        return Cause("blocked", text, line_of(raised), actual=actual, where=where, line=raised.line)
    text = f"{name} was raised: {raised.message}" if raised.message else f"{name} was raised."
    if any(kind.endswith("BdbQuit") for kind in raised.types):
        script = command_line("repro", "CHALLENGE")
        text = f"breakpoint() was reached, and a grading has no terminal: `{script}` writes the case for a debugger."
    told = ("raised", text, line_of(raised), "no exception", name, Where(step))
    return Cause(*told, line=raised.line)


def problem_cause(step: int | None, problem: Problem) -> Cause:
    """Describe what the driver's code in the worker found: a missing name, or an answer of the wrong structure.

    The word for the kind comes from the worker and is free text, which a submission may have written: one that is not
    known counts as `wrong_value`.
    """
    kind = problem.kind if problem.kind in PROBLEMS else "wrong_value"
    return Cause(kind, sentence(problem.message), where=Where(step))


def worker_failure_cause(step: int | None, failure: WorkerFailure) -> Cause:
    """Say why a worker gave no answer."""
    kind = KIND_OF_FAILURE.get(failure.kind, failure.kind)
    return Cause(kind, sentence(failure.message), HELP.get(kind), where=Where(step))


def sentence(text: str) -> str:
    """Return a message of a driver or of a worker as a sentence, e.g. `no such key` as `No such key.`"""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def line_of(raised: Raised) -> str | None:
    """Quote the line of the submission that raised."""
    return f"Line {raised.line}: {raised.text.strip()}" if raised.line else None


def malformed(challenge: Challenge, case: Case, index: int) -> str | None:
    """Say what a call that must be refused was given, by the step of the case; None where the case does not say."""
    if index < 0:
        return _stated("It was created with", case.setup)
    step = case.steps[index]
    verb = load_driver(challenge).driver.verbs.get(step["do"])
    spoils = verb.spoils if verb is not None else {}
    if (way := step.get("spoil")) is not None:
        arguments = spoils[way].arguments if way in spoils else ()
        named = " and ".join(f"`{name}`" for name in arguments) or "an argument"
        return f"Malformed in this call: {named} ({str(way).replace('_', ' ')})."
    return _stated("The call was given", step)


def _stated(before: str, entries: Mapping[str, Any]) -> str | None:
    """List the first of what a case states, as a case file writes it."""
    told = [
        f"{name} = {text if len(text := json.dumps(value)) <= MOST_TEXT else text[:MOST_TEXT] + ' ...'}"
        for name, value in entries.items()
        if name not in STEP_KEYS
    ]
    return f"{before} {', '.join(told[:MOST_STATED])}." if told else None
