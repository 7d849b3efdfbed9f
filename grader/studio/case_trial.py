"""A case that is being written: its faults as `case lint` tells them, and its worth as `case add --dry-run` does.

Nothing is written anywhere.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any

from grader.content import Challenge, ContentError
from grader.content.casefile import cases_in
from grader.ground.display import escape_for_display
from grader.ground.errors import UserError
from grader.ground.limits import MAX_CASE_FILE_BYTES

MOST_FAULTS = 30
NAME = "your case"
_measuring = threading.Lock()  # one at a time: it takes a sandbox of its own


@dataclass(frozen=True)
class CaseFaults:
    """What is wrong with a case, a line each, or else what it costs in a line."""

    faults: tuple[str, ...]
    cost: str = ""


@dataclass(frozen=True)
class CaseWorth:
    """What a case is worth in lines, and what is against adding it."""

    lines: tuple[str, ...]
    objections: tuple[str, ...]


def begun_case(challenge: Challenge) -> str:
    """Return the text that a new case begins with."""
    from grader.author.skeleton import skeleton

    document = skeleton(challenge, challenge.folder / "my-case.json")
    return written(document["cases"][0])


def written(case: dict[str, Any]) -> str:
    """Return a case as text, a line for each step.

    >>> print(written({"id": "a", "steps": [{"do": "reset"}]}))
    {
      "id": "a",
      "steps": [
        {"do": "reset"}
      ]
    }
    """
    lines = []
    for key, value in case.items():
        text = json.dumps(value, ensure_ascii=False)
        if key == "steps" and value:
            steps = ",\n".join(f"    {json.dumps(step, ensure_ascii=False)}" for step in value)
            text = f"[\n{steps}\n  ]"
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}"


def faults_of(challenge: Challenge, text: str) -> CaseFaults:
    """Check a case without running anything."""
    from grader.author.skeleton import refuse_untouched
    from grader.judge.cost import estimate_cost

    try:
        entry, case = _one(challenge, text)
        price = estimate_cost(challenge, case)
        refuse_untouched(entry, NAME)
    except ContentError as error:
        return CaseFaults(_lines(error))
    cost = f"draws {price.numbers:,} numbers, at most some {price.work:,} multiplications"
    return CaseFaults((), cost)


def worth_of(challenge: Challenge, text: str) -> CaseWorth:
    """Run a case on the reference, every decoy, bug and trivial answer; raises KvdojoError.

    It takes some seconds, and one is measured at a time.
    """
    from grader.author.case_addition import measure
    from grader.author.skeleton import refuse_untouched
    from grader.judge import GraderError, start_sandbox
    from grader.judge.missing_packages import missing_package, reason
    from grader.report.case_value_report import worth_lines
    from grader.sandbox import SandboxError

    if package := missing_package(challenge):
        raise UserError(f"{challenge.id!r} cannot be run here: {reason(package)}")
    entry, case = _one(challenge, text)
    refuse_untouched(entry, NAME)
    if not _measuring.acquire(blocking=False):
        raise UserError("Another case is being measured; try again when it is done.")
    try:
        with start_sandbox(challenge) as sandbox:
            value = measure(sandbox, challenge, case).value
    except SandboxError as error:
        raise GraderError(str(error)) from error
    finally:
        _measuring.release()
    lines = tuple(escape_for_display(line) for line in worth_lines(challenge, value))
    return CaseWorth(lines, tuple(escape_for_display(line) for line in value.objections))


def _one(challenge: Challenge, text: str) -> Any:
    """Return the one case in a text, as JSON and as a value; raises ContentError."""
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_CASE_FILE_BYTES:
        raise ContentError(f"{NAME}: larger than {MAX_CASE_FILE_BYTES >> 10} KiB")
    found = cases_in(raw, NAME, challenge, challenge.cases)
    if len(found) != 1:
        raise ContentError(f"{NAME}: holds {len(found)} cases; write one")
    return found[0]


def _lines(error: ContentError) -> tuple[str, ...]:
    lines = [line.removeprefix(f"{NAME}: ") for line in str(error).split("\n")]
    shown = [escape_for_display(line) for line in lines[:MOST_FAULTS]]
    if len(lines) > MOST_FAULTS:
        shown.append(f"and {len(lines) - MOST_FAULTS} more")
    return tuple(shown)
