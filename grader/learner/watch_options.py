"""What `kvdojo watch` is given: the challenge, the file, and what its keys ask of other commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grader.content import Challenge
from grader.judge.focus import Focus
from grader.judge.result import CaseResult, Result
from grader.judge.telling import DEFAULT
from grader.learner.question import Question
from grader.report.stories import Success
from grader.sandbox import Sandbox

# the bytes of the file, the case on the screen and the focus -> lines about it
Hinter = Callable[[bytes, CaseResult, Focus], tuple[str, ...]]
Tracer = Callable[[Sandbox, bytes, CaseResult, Focus], tuple[str, ...]]


@dataclass(frozen=True)
class WatchOptions:
    """What to watch, and how.

    `named` is what the file is called on the screen, by default its own name.  `planted` are the bugs the file came
    with, where that is known, and `level` is the level of telling; `before` gives the bug that was in focus last,
    whichever command graded the file then.  `hint`, `more` and `trace` answer the keys h, m and t, and `graded` is
    called with every verdict and its focus; `success` gives the end of the attempt for bytes that pass.  Before a
    verdict is remembered, `judged` gives what became of suspicions, and `question` what is asked after a fix; `answer`
    replies to a number.  `suspect` notes what was typed after key p.  With `poll` the file is looked at regularly
    instead of waiting for reported changes.
    """

    challenge: Challenge
    path: Path
    planted: tuple[str, ...] | None
    hint: Hinter
    graded: Callable[[bytes, Result, Focus], None]
    trace: Tracer | None = None
    more: Tracer | None = None
    level: str = DEFAULT
    named: str = ""
    success: Callable[[bytes], Success | None] | None = None
    judged: Callable[[Result], tuple[str, ...]] | None = None
    question: Callable[[Result], Question | None] | None = None
    answer: Callable[[Question, int], str] | None = None
    suspect: Callable[[str], tuple[str, ...]] | None = None
    before: Callable[[], str | None] | None = None
    isolate: bool = True
    poll: bool = False
