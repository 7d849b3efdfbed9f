"""Whoever rewords a sentence for learners changes no diagnosis: what programs decide by are kinds and fields.

Every sentence of a cause and of a pattern is made unrecognisable where it is made, and all that is decided must be as
before: verdicts, kinds, places, the order of cases, bug statuses, traces, what each export says the outcome was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from grader.content import Challenge, load_challenge
from grader.content.planting import plant
from grader.diagnose.explain_failures import with_first_divergence
from grader.diagnose.trace_case import trace_case
from grader.diagnose.trace_model import Trace
from grader.judge import grade_source
from grader.judge.error_patterns import Pattern
from grader.judge.golden import Golden, load_golden
from grader.judge.result import CaseResult, Cause, Result, most_informative_first
from grader.report.exports import FORMATS
from grader.report.exports.result_files import Exported

NAME = "multi_head_attention"
# one that scales, one that scrambles, one that transposes, one of the mask, one that raises, one that shares memory
BUGS = (
    "seed-scale-missing-sqrt",
    "seed-split-heads-view-order",
    "merge-heads-without-permute",
    "causal-top-left-with-cache",
    "seed-k-transpose-12",
    "k-cache-used-as-v",
    "prompt-cache-mutated-by-generate",
)


@pytest.fixture(scope="module")
def challenge() -> Challenge:
    return load_challenge(NAME)


@pytest.fixture(scope="module")
def golden(challenge: Challenge) -> Golden:
    return load_golden(challenge)


def unreadable(text: str | None) -> str | None:
    """Return a text in which nothing can be recognised: another one for another text, the same when done twice."""
    if text is None or text.startswith("#"):
        return text
    return "#" + hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def reword(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that makes every sentence unreadable from then on."""

    def spoil(kind: type, *sentences: str) -> None:
        made = kind.__init__

        def init(self: Any, *args: Any, **named: Any) -> None:
            made(self, *args, **named)
            for name in sentences:
                object.__setattr__(self, name, unreadable(getattr(self, name)))

        monkeypatch.setattr(kind, "__init__", init)

    def now() -> None:
        spoil(Cause, "rationale", "help", "divergence")
        spoil(Pattern, "text")

    return now


def decided(result: Result) -> dict[str, Any]:
    """Return all of a result but its sentences and times."""
    return {
        "verdict": (result.verdict, result.score, result.max_score),
        "cases": [_case(case) for case in result.cases],
        "order": [case.id for case in most_informative_first(result.cases)],
        "bugs": [(bug.id, bug.status) for bug in result.bugs],
    }


def _case(case: CaseResult) -> tuple[Any, ...]:
    cause = case.cause
    told = cause and (cause.kind, cause.where, cause.looks_like, cause.divergence is not None)
    return case.id, case.status, case.points, told, case.unjudged_because


def diagnosed(trace: Trace) -> dict[str, Any]:
    """Return all of a trace but its sentences."""
    first = trace.divergence
    assert first is not None
    return {
        "first": (first.step, first.stage, first.bug_class, first.bug_class_by_place),
        "looks_like": first.looks_like,
        "checkpoints": [
            (step.index, point.name, point.call, point.status, point.kinds, point.place)
            for step in trace.steps
            for point in step.checkpoints
        ],
        "patterns": [
            pattern.kind
            for step in trace.steps
            for point in step.checkpoints
            for pattern in point.patterns
        ],
    }


def outcomes(result: Result) -> dict[str, Any]:
    """Return what the exports make of each case."""
    one = Exported("ada", result)
    suite = ElementTree.fromstring(FORMATS["junit"].render([one]))
    github = FORMATS["github"].render([one]).splitlines()
    return {
        "junit": [
            [(part.tag, part.get("type")) for part in case] for case in suite.iter("testcase")
        ],
        "github": [line.split(" ")[0] for line in github],
        "exercism": [t["status"] for t in json.loads(FORMATS["exercism"].render([one]))["tests"]],
        "check50": [t["passed"] for t in json.loads(FORMATS["check50"].render([one]))["results"]],
    }


@pytest.mark.parametrize("bug", BUGS)
def test_no_diagnosis_is_read_out_of_a_sentence(
    bug: str, challenge: Challenge, golden: Golden, sandbox_for, reword: Callable[[], None]
) -> None:
    box = sandbox_for(NAME)
    source = plant(challenge, [bug]).encode()
    known = [challenge.cases[name] for name in challenge.bugs[bug].witnesses]
    scenario = next(case for case in known if case.kind == "scenario")
    chosen = [scenario.id, *(case.id for case in known[:4] if case is not scenario)]
    seeds = dict.fromkeys(challenge.cases, 7)

    def everything() -> tuple[dict[str, Any], ...]:
        result = grade_source(challenge, source, cases=chosen, sandbox=box, seeds=seeds)
        assert result.verdict == "failed"
        explained = with_first_divergence(box, challenge, golden, source, result)
        trace = trace_case(box, challenge, scenario, source, golden.cases[scenario.id])
        return decided(explained), diagnosed(trace), outcomes(explained)

    before = everything()
    reword()
    assert everything() == before
    (cause,) = [case.cause for case in _failed(challenge, source, box, [scenario.id], seeds)]
    assert cause.rationale.startswith("#"), "the sentences really were other ones"


def _failed(challenge, source, box, cases, seeds) -> list[CaseResult]:
    result = grade_source(challenge, source, cases=cases, sandbox=box, seeds=seeds)
    return [case for case in result.cases if case.status == "failed"]
