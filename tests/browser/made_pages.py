"""Pages of every kind of result, made without grading: what a learner may get to see."""

from __future__ import annotations

from dataclasses import replace

from made_traces import not_finite, trace, unmasked

from grader.content import Challenge
from grader.diagnose.trace_model import Divergence
from grader.judge.error_patterns import Pattern
from grader.judge.result import BugStatus, CaseResult, Cause, Result, Where
from grader.report.html_report import result_page

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202e\"'&{{7*7}}</style>"
ENVIRONMENT = {"python": "3", "torch": "2", "triton": None, "device": "cpu", "isolation": ["a"]}
WRONG = Cause(
    "wrong_value",
    "`weights` differs from the reference in 12 of 36 values.",
    "Along axis 2, only index 0-1 is wrong.",
    "[0.1, 0.2]",
    "[0.3, 0.4]",
    Where(1, "weights", (0, 0, 0, 5)),
)
OUTPUT = replace(WRONG, rationale="`output` differs.", where=Where(1, "output", (0, 0, 0)))
ENDS = {
    "crash": Cause("crashed", "The process was ended by signal 11.", None, where=Where(0)),
    "timeout": Cause("timeout", "No answer within 5 s.", "Look for a loop.", where=Where(0)),
}


def pages(challenge: Challenge) -> dict[str, str]:
    """Return the text of each page by name; `symptom` is told at that level, all others at the highest."""
    planted = challenge.presets["contest"].bugs
    right = challenge.reference_text
    made = {
        "passing": _page(challenge, [_case("good")], _bugs(challenge, planted[:3], "fixed"), right),
        "one-bug": _page(challenge, [_case("a", WRONG), _case("good")], _one(challenge), right),
        "eight-bugs": _page(
            challenge,
            [_case(f"case-{n}", WRONG) for n in range(24)],
            _bugs(challenge, planted[:8], "present"),
            right,
        ),
        "hostile": _hostile(challenge),
        "unjudged": result_page(
            challenge, Result.unjudged(challenge, HOSTILE, "0" * 64, "of a reason."), None
        ),
        "symptom": _page(
            challenge,
            [_case("a", OUTPUT), _case("b", OUTPUT), _case("good")],
            _one(challenge),
            right,
            level="symptom",
        ),
    }
    for name, cause in ENDS.items():
        made[name] = _page(
            challenge, [_case("a", cause), _case("b", cause)], _one(challenge), right
        )
    return made


def made_result(challenge: Challenge) -> Result:
    """Return a result with one case that failed."""
    return _result(challenge, [_case("a", WRONG), _case("good")], _one(challenge))


def _page(challenge, cases, bugs, source, level="cause") -> str:
    failed = [case for case in cases if case.cause in (WRONG, OUTPUT)]
    spoil = {False: unmasked, True: not_finite}
    traces = {case.id: trace(case.id, wrong=spoil[n % 2 == 1]) for n, case in enumerate(failed[:6])}
    planted = tuple(bug.id for bug in bugs)
    return result_page(
        challenge,
        _result(challenge, cases, bugs),
        source,
        level=level,
        traces=traces,
        planted=planted,
        index="index.html",
    )


def _hostile(challenge: Challenge) -> str:
    cause = Cause("wrong_value", HOSTILE, HOSTILE, HOSTILE, HOSTILE, Where(2, HOSTILE, (0, 3)))
    cases = [_case("a", cause)]
    result = replace(_result(challenge, cases, _one(challenge)), file=HOSTILE, log=HOSTILE)
    made = trace("a", wrong=unmasked)
    assert made.divergence is not None
    checkpoint = replace(
        made.divergence.checkpoint,
        name=HOSTILE,
        title=HOSTILE,
        patterns=(Pattern("hostile", HOSTILE),),
    )
    steps = tuple(replace(step, title=HOSTILE, checkpoints=(checkpoint,)) for step in made.steps)
    first = Divergence(1, HOSTILE, checkpoint, looks_like=HOSTILE)
    made = replace(made, steps=steps, divergence=first, ended=HOSTILE)
    return result_page(
        challenge, result, f"{HOSTILE}\n{challenge.reference_text}", traces={"a": made}
    )


def _result(challenge, cases, bugs) -> Result:
    verdict = "failed" if any(case.cause for case in cases) else "passed"
    score = sum(case.points for case in cases)
    top = sum(case.max_points for case in cases)
    return Result(
        challenge.id,
        challenge.file,
        "0" * 64,
        verdict,
        score,
        top,
        0.5,
        tuple(cases),
        tuple(bugs),
        ENVIRONMENT,
    )


def _case(name: str, cause: Cause | None = None) -> CaseResult:
    status = "failed" if cause else "passed"
    return CaseResult(name, f"The case {name}", status, int(not cause), 1, 0.1, cause, why="why")


def _one(challenge: Challenge) -> list[BugStatus]:
    first, second, third = challenge.presets["contest"].bugs[:3]
    changed = BugStatus(third, challenge.bugs[third].title, "changed", "mask-chunk still fails")
    return [*_bugs(challenge, [first], "fixed"), *_bugs(challenge, [second], "present"), changed]


def _bugs(challenge: Challenge, names, state: str) -> list[BugStatus]:
    return [BugStatus(name, challenge.bugs[name].title, state) for name in names]
