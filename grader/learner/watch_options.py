"""What a watch is about: the challenge, the file, and what is known of how the file was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grader.content import Challenge
from grader.judge.result import CaseResult, Result
from grader.sandbox import Sandbox

# the text of the file and the case on the screen -> lines about it
Hinter = Callable[[bytes, CaseResult], tuple[str, ...]]
Tracer = Callable[[Sandbox, bytes, CaseResult], tuple[str, ...]]


@dataclass(frozen=True)
class WatchOptions:
    """What `watch` is given; `planted` are the bugs the file came with, where that is known."""

    challenge: Challenge
    path: Path
    planted: tuple[str, ...] | None
    hint: Hinter
    graded: Callable[[bytes, Result], None]
    trace: Tracer | None = None
    isolate: bool = True
    poll: bool = False
