"""A studio without a sandbox: the real challenges and pages, and a grading that is made up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from grader.content import Challenge
from grader.judge.result import BugStatus, CaseResult, Cause, Result, Where
from grader.studio.gatekeeper import Gatekeeper
from grader.studio.live_attempt import LiveAttempt
from grader.studio.open_attempts import OpenAttempts

NAME = "multi_head_attention"
HOST = "127.0.0.1:8519"
HERE = {"Origin": f"http://{HOST}"}


class NoSandbox:
    """Stands where a sandbox would, and counts."""

    open = 0

    def __init__(self, *_: object, **__: object) -> None:
        NoSandbox.open += 1

    def close(self) -> None:
        NoSandbox.open -= 1


@dataclass
class Grader:
    """A grading that is made up: `log` is what the file prints, `words` what is said of it."""

    log: str = ""
    words: str = "`output` differs from the reference in 3 of 4 values."
    seconds: float = 0.0
    graded: list[bytes] = field(default_factory=list)

    def __call__(self, challenge: Challenge, source: bytes, **given: Any) -> Result:
        given["progress"](0, 2)
        time.sleep(self.seconds)
        given["progress"](1, 2)
        self.graded.append(source)
        wrong = b"mended" not in source
        scenarios = [case for case in challenge.cases.values() if case.kind == "scenario"][:2]
        cause = Cause("wrong_value", self.words, None, "[1]", "[2]", Where(0, "output", (0, 1)))
        cases = [CaseResult.judged(case, cause if wrong else None) for case in scenarios]
        planted = challenge.presets["default"].bugs
        bugs = [
            BugStatus(name, challenge.bugs[name].title, "present" if wrong else "fixed")
            for name in planted
        ]
        environment = {"python": "3", "torch": "2", "triton": None, "device": "cpu"}
        return Result.of_cases(
            *(challenge.id, given["filename"], "0" * 64, cases),
            environment=environment, bugs=bugs, log=self.log,
        )  # fmt: skip


@dataclass
class Studio:
    """The studio, a browser that was let in, and the attempt's file."""

    attempts: OpenAttempts
    door: Gatekeeper
    client: TestClient
    grader: Grader
    work: Path

    @property
    def file(self) -> Path:
        return self.work / NAME / "kv_attention.py"

    def begin(self) -> LiveAttempt:
        """Begin the attempt and open its page."""
        answer = self.client.post(f"/challenge/{NAME}/start", headers=HERE)
        assert answer.status_code == 200, answer.text
        return self.attempts.opened(NAME)

    def state(self, contains: str, seconds: float = 20.0) -> str:
        """Wait until the newest state contains a text, and return it."""
        live = self.attempts.opened(NAME)
        return until(lambda: contains in live.piece.html and live.piece.html, seconds)

    def save(self, text: str, base: str, how: str = "save") -> Any:
        asked = {"text": text, "base": base, "how": how}
        return self.client.post(f"/attempt/{NAME}/file", json=asked, headers=HERE)


def until(found: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for something to be true, and return it."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return value
