"""What the screen shows, as plain values.  Events change them; nothing is drawn and nothing is run here."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, field

from grader.content.entries import CAUSE, SYMPTOM, tells
from grader.content.handed_in import HandedIn
from grader.ground.symbols import count
from grader.judge.focus import NO_FOCUS, Focus, shown_first, told_cases
from grader.judge.result import CaseResult, Result, most_informative_first
from grader.judge.telling import DEFAULT, counted_as, told
from grader.learner.question import Question
from grader.report.stories import Success

MOST_TYPED = 200


@dataclass
class WatchView:
    """The state of a watch.

    `busy` is how many cases of a running grading are finished, of how many.  `trouble` is why the newest save has no
    verdict; the last result stays on the screen, the `full` one as far as the `level` tells it.  `moved` says what the
    last save changed, `at` which of the `failed` cases is shown, beside which `counted` ones failed, called
    `counted_as`, and `panel` holds the title and the lines of an answer to a key.  `success` is the end of the attempt,
    while the file passes.  `question` may be answered by a number while it is shown, when `asking`, and `typing` is
    what is typed so far of a suspicion, None otherwise.
    """

    file: str
    planted: tuple[str, ...] | None = None
    level: str = DEFAULT
    focus: Focus = NO_FOCUS
    result: Result | None = None
    full: Result | None = None
    source: bytes = b""
    seconds: float = 0.0
    saves: int = 0
    busy: tuple[int, int] | None = None
    trouble: str | None = None
    trouble_line: int | None = None
    moved: tuple[str, ...] = ()
    at: int = 0
    panel: tuple[str, tuple[str, ...]] | None = None
    failed: list[CaseResult] = field(default_factory=list)
    counted: int = 0
    counted_as: str = "unit case"
    success: Success | None = None
    question: Question | None = None
    asking: bool = False
    typing: str | None = None

    @property
    def case(self) -> CaseResult | None:
        """The failed case on the screen."""
        return self.failed[self.at] if self.failed else None

    def begin(self) -> None:
        """A grading has started."""
        self.busy, self.trouble, self.trouble_line = (0, 0), None, None

    def stop(self, trouble: str, line: int | None = None) -> None:
        """Note why the newest save cannot be graded, and the line of the file that says it, where there is one."""
        self.busy, self.trouble, self.trouble_line = None, trouble, line

    def take_result(
        self, source: bytes, result: Result, seconds: float, focus: Focus = NO_FOCUS
    ) -> None:
        """Take a new verdict; a case that was chosen stays on the screen if it still fails, else the focus is shown."""
        chosen = self.case.id if self.case and self.at else None
        self.moved = changes(self.full, result, self.planted, self.level)
        self.full, result = result, told(result, self.level)
        self.result, self.source, self.seconds = result, source, seconds
        self.busy, self.trouble, self.panel = None, None, None
        self.saves, self.success, self.question = self.saves + 1, None, None
        self.asking = False
        wrong = most_informative_first(result.cases)
        self.focus = focus
        self.failed = told_cases(wrong, self.level, focus)
        left = [case for case in wrong if case not in self.failed]
        self.counted = len(left)
        self.counted_as = counted_as(left, self.level)
        first = shown_first(self.failed, focus) if self.failed else None
        self.failed.sort(key=lambda case: case is not first)
        ids = [case.id for case in self.failed]
        self.at = ids.index(chosen) if chosen in ids else 0

    def next(self) -> None:
        """Go to the next failed case."""
        if self.failed:
            self.at = (self.at + 1) % len(self.failed)
            self.panel = None


def key_into(typed: str, key: str) -> str | None:
    """Return a typed line after one more key; None when a key takes away more than there is."""
    if key in ("\x7f", "\b"):
        return typed[:-1] if typed else None
    return (typed + key)[:MOST_TYPED] if key.isprintable() else typed


def changes(
    before: Result | None,
    after: Result,
    planted: tuple[str, ...] | None,
    level: str = CAUSE,
) -> tuple[str, ...]:
    """Return what one save has changed, in sentences: bugs fixed or back again, cases that pass or fail now."""
    if before is None:
        return ()
    states = {bug.id: bug.status for bug in before.bugs}
    fixed = [
        bug.title
        for bug in after.bugs
        if bug.status == "fixed" != states.get(bug.id) and (planted is None or bug.id in planted)
    ]
    # a bug of which nothing can be told now, since the file gave no answer, has not come back
    back = [
        bug.title
        for bug in after.bugs
        if bug.status != "fixed" == states.get(bug.id)
        and (bug.status == "present" or bug.evidence)
        and (planted is None or bug.id in planted)
    ]
    if not tells(level, SYMPTOM):
        fixed = back = []
    now = {case.id: case.status for case in told(after, level).cases}
    old = {case.id: case.status for case in told(before, level).cases}
    passes = [name for name, status in now.items() if status == "passed" != old.get(name)]
    fails = [name for name, status in now.items() if status == "failed" != old.get(name)]
    lines = [f"fixed: {title}" for title in fixed]
    lines += [f"wrong again: {title}" for title in back]
    if passes:
        lines.append(f"{count(len(passes), 'case')} more {_verb('pass', passes)}: {_names(passes)}")
    if fails:
        lines.append(f"{count(len(fails), 'case')} more {_verb('fail', fails)}: {_names(fails)}")
    return tuple(lines) or ("no verdict has changed",)


def _verb(verb: str, names: list[str]) -> str:
    final_line = "es" if verb.endswith("s") else "s"
    return verb + final_line if len(names) == 1 else verb


def _names(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def syntax_error(handed: HandedIn) -> tuple[str, int | None] | None:
    """Return where a file that is being typed is not Python yet, in words and as a line of the file; None if it is."""
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(handed.text)
    except SyntaxError as error:
        line = error.lineno or 1
        place = handed.notebook.place(line) if handed.notebook else f"line {line}"
        return f"not valid Python yet, {place}: {error.msg}", None if handed.notebook else line
    except (ValueError, RecursionError, MemoryError) as error:
        return f"not valid Python yet: {error}", None
    return None
