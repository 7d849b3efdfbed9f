"""Whether a bug is mended, seen apart from whatever else is wrong with the file.

Where every case that isolates a bug fails for another mistake too, the cases say nothing of it.  Then what the file has
in place of the bug is put into the reference, and nothing else of the file; the cases that catch the bug decide.

    reference        file                 seen apart
    scale(x)         scale(x)             scale(x)
    mask(x)          own_mask(x)          own_mask(x)      <- in place of the bug
    return x         return -x            return x         <- another mistake, left out

A fix that needs other lines of the file too fails here, and the status stays what it was: nothing is lost by asking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from grader.content import Case, Challenge
from grader.content.entries import Bug
from grader.content.planting import changed_lines
from grader.judge.bug_status import NO_ANSWER, UNSURE
from grader.judge.grading import Grading
from grader.judge.result import BugStatus, CaseResult

MOST_LINES = (
    3000  # of a file that is compared line by line, which takes long where thousands are alike
)
MOST_BUGS = 4  # of one grading, the first that are left
MOST_CASES = {
    "unit": 8,
    "scenario": 4,
}  # that decide; scenarios are asked where the unit cases pass


def mended_apart(
    grading: Grading,
    text: str,
    states: Mapping[str, str],
    statuses: Iterable[BugStatus],
    results: Sequence[CaseResult],
) -> frozenset[str]:
    """Return the ids of bugs that are right where they were changed, though their cases fail for other mistakes.

    `grading` is that of the file, `states` what its text shows of each entry, `statuses` what its cases made of that.
    Nothing is run for a file that ran out of time or could not be executed.
    """
    if any(case.cause is not None and case.cause.kind in NO_ANSWER for case in results):
        return frozenset()
    challenge = grading.challenge
    left = [bug.id for bug in statuses if bug.status in UNSURE and bug.evidence]
    clean = undone(challenge, states, text)
    return frozenset(
        name
        for name in left[:MOST_BUGS]
        if (alone := apart(challenge, challenge.bugs[name], clean)) is not None
        and alone != text
        and _is_right(grading, alone, challenge.bugs[name])
    )


def undone(challenge: Challenge, states: Mapping[str, str], text: str) -> str:
    """Return a file in which the bugs and decoys that stand there as planted are as in the reference."""
    for name, state in states.items():
        for edit in challenge.bugs[name].edits if state == "present" else ():
            if edit.replace.strip() and text.count(edit.replace) == 1:
                text = text.replace(edit.replace, edit.find)
    return text


def apart(challenge: Challenge, bug: Bug, text: str) -> str | None:
    """Return the reference with what a file has in place of a bug.

    None where the file has the reference's lines, or more lines than anybody writes.
    """
    reference = challenge.reference_text
    theirs, mine = reference.splitlines(keepends=True), text.splitlines(keepends=True)
    if len(mine) > MOST_LINES:
        return None
    spans = [changed_lines(reference, edit) for edit in bug.edits]
    matcher = SequenceMatcher(
        None, [line.rstrip() for line in theirs], [line.rstrip() for line in mine], autojunk=False
    )
    made: list[str] = []
    touched = False
    for kind, start, end, first, last in matcher.get_opcodes():
        here = kind != "equal" and any(
            span is not None and start <= span[1] and span[0] <= end for span in spans
        )
        touched |= here
        made += mine[first:last] if here else theirs[start:end]
    return "".join(made) if touched else None


def _is_right(grading: Grading, text: str, bug: Bug) -> bool:
    """Whether a file passes the cases that catch a bug, at least one of them, on the inputs that the file was asked."""
    known = grading.challenge.cases
    cases = [known[name] for name in bug.witnesses if name in known]
    passed = False
    for kind, most in MOST_CASES.items():
        chosen = [case for case in cases if case.kind == kind][:most]
        if chosen:
            statuses = {case.status for case in _asked(grading, text, chosen)}
            if not statuses <= {"passed", "skipped"}:
                return False
            passed |= "passed" in statuses
    return passed


def _asked(grading: Grading, text: str, cases: list[Case]) -> list[CaseResult]:
    again = replace(
        grading,
        source=text.encode(),
        progress=_quiet,
        secret=False,
        foreign=frozenset(),
        unnamed=frozenset(),
        _timeouts=0,
        _stopped=False,
        _loaded=False,
    )
    with again:
        return again.run(cases)[0]


def _quiet(_done: int, _total: int) -> None:
    """Report no progress."""
