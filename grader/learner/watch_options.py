"""What `kvdojo watch` is given: the challenge, the file, and what its keys ask of other commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grader.content import Challenge
from grader.judge.result import CaseResult, Result
from grader.sandbox import Sandbox

# the bytes of the file and the case on the screen -> lines about it
Hinter = Callable[[bytes, CaseResult], tuple[str, ...]]
Tracer = Callable[[Sandbox, bytes, CaseResult], tuple[str, ...]]


@dataclass(frozen=True)
class WatchOptions:
    """What to watch, and how.

    `planted` are the bugs the file came with, where that is known.  `hint` and `trace` answer the keys h and t, and
    `graded` is called with every verdict.  With `poll` the file is looked at regularly instead of waiting for reported
    changes.
    """

    challenge: Challenge
    path: Path
    planted: tuple[str, ...] | None
    hint: Hinter
    graded: Callable[[bytes, Result], None]
    trace: Tracer | None = None
    isolate: bool = True
    poll: bool = False
