"""No giveaways: what is told at a lower level holds nothing that belongs to a higher one.

For each bug that is planted alone, and for the default starter, the texts that `judge.telling` leaves of every case are
searched for what only a higher level may tell: the names of the methods that the bug edits, the number and the text of
its lines, its title, symptom, explanation and hints, where and how the run departs from the reference, and the titles
of unit cases.  An exception is a symptom: its message, and the line that it came from, are told with it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence

from grader.content import Bug, Challenge
from grader.content.entries import CAUSE, PATTERN, PLACE, SYMPTOM, TELLING
from grader.content.planting import line_span, lines_in, plant
from grader.judge.result import CaseResult, Cause, Result
from grader.judge.telling import told

SHORTEST = 12  # characters of a line of code that says anything; `else:` stands everywhere
FEWEST_WORDS = 6  # of a sentence that says something of one bug; `0 * NaN is NaN` is true of all
WORD = re.compile(r"[A-Za-z_]\w*")


def giveaways(
    challenge: Challenge, ids: Sequence[str], results: Iterable[CaseResult]
) -> Iterator[tuple[str, str]]:
    """Yield (case, sentence) for each thing that a level tells of a file with these bugs and should not."""
    full = Result.of_cases(challenge.id, challenge.file, "", results, environment={})
    bugs = [challenge.bugs[name] for name in ids]
    secrets = _secrets(challenge, bugs)
    text = plant(challenge, ids)
    numbers = {number for bug in bugs for number in lines_in(challenge, bug, text)}
    names = {name for bug in bugs for name in _methods_of(challenge, bug)}
    for level in (SYMPTOM, PLACE, PATTERN):
        for before, after in zip(full.cases, told(full, level).cases, strict=True):
            if after.status != "failed":
                continue
            shown = "\n".join(_texts(after))
            for what, secret in [*secrets, *_of_higher_levels(before, level)]:
                if secret in shown and secret != before.title:
                    yield before.id, f"the level {level!r} tells {what}: {secret!r}"
            if after.cause is None or after.cause.kind == "raised":
                continue
            for name in names.intersection(WORD.findall(shown)):
                yield before.id, f"the level {level!r} names `{name}`, which the bug edits"
            for number in numbers:
                if re.search(rf"(?i)\bline {number}\b|:{number}\b", shown):
                    yield before.id, f"the level {level!r} names line {number}, which the bug edits"


def told_too_early(
    challenge: Challenge, ids: Sequence[str], results: Iterable[CaseResult], level: str, text: str
) -> Iterator[tuple[str, str]]:
    """Yield (what, sentence) for each thing in a page or another text that belongs to a higher level than its own.

    Lines and names are not looked for, since such a text may hold the learner's file.
    """
    scenarios = {case.title for case in challenge.cases.values() if case.kind == "scenario"}
    higher = [pair for case in results for pair in _of_higher_levels(case, level)]
    for what, secret in [*_secrets(challenge, [challenge.bugs[name] for name in ids]), *higher]:
        if secret in text and secret not in scenarios:
            yield what, secret


def _secrets(challenge: Challenge, bugs: Iterable[Bug]) -> list[tuple[str, str]]:
    """Return what only the highest level may tell of these bugs, and the titles of unit cases."""
    units = [case.title for case in challenge.cases.values() if case.kind == "unit"]
    secrets = [pair for bug in bugs for pair in _secrets_of(challenge, bug)]
    return [*secrets, *(("the title of the unit case", title) for title in units)]


def _texts(case: CaseResult) -> Iterator[str]:
    """Yield all that a report can show of a case."""
    yield from (case.id, case.title, case.why)
    if (cause := case.cause) is not None:
        yield from filter(None, (cause.rationale, cause.expected, cause.actual, cause.advice))
        if cause.where and cause.where.output:
            yield cause.where.output


def _of_higher_levels(case: CaseResult, level: str) -> Iterator[tuple[str, str]]:
    """Yield what was known of a case and belongs to a level above this one."""
    cause: Cause | None = case.cause
    if cause is None or (case.kind == "unit" and cause.kind == "raised"):
        return
    parts = {
        PLACE: [("where inside it differs", cause.divergence)],
        PATTERN: [("how it differs", cause.manner), ("the pattern", cause.help)],
        CAUSE: [("the known mistake", cause.looks_like)],
    }
    for higher, told_there in parts.items():
        if TELLING.index(higher) > TELLING.index(level):
            yield from ((what, text) for what, text in told_there if text)


def _secrets_of(challenge: Challenge, bug: Bug) -> Iterator[tuple[str, str]]:
    """Yield what the catalogue says of a bug, and the lines that it edits, as (what it is, text)."""
    yield "the title of the bug", bug.title
    for what, text in (("symptom", bug.symptom), ("explanation", bug.explanation)):
        for sentence in re.split(r"(?<=[.!?:;])\s+", text):
            if len(sentence.split()) >= FEWEST_WORDS:
                yield f"the {what} of the bug", sentence
    yield from (("a hint", hint) for hint in bug.hints)
    for edit in bug.edits:
        for line in (*edit.find.splitlines(), *edit.replace.splitlines()):
            if len(line.strip()) >= SHORTEST and not line.strip().startswith(("#", '"""')):
                yield "a line of code", line.strip()


def _methods_of(challenge: Challenge, bug: Bug) -> set[str]:
    """Return the functions that a bug edits, without public ones of which the brief speaks."""
    try:
        tree = ast.parse(challenge.reference_text)
    except (SyntaxError, ValueError):
        return set()
    lines = {line + 1 for edit in bug.edits for line in line_span(challenge.reference_text, edit)}
    names = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not lines.isdisjoint(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    }
    spoken_of = set(WORD.findall(challenge.brief)) | set(challenge.provides)
    return {name for name in names if name.startswith("_") or name not in spoken_of}
