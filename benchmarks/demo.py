"""Grade every challenge's starter and reference, as `make demo` does, and write the pages to report/.

The starter must fail and the reference must pass; anything else ends with a non-zero status.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from benchmarks.options import parser
from grader.content import Challenge, challenge_ids, load_challenge
from grader.diagnose.explain_failures import trace_failed_cases
from grader.diagnose.trace_model import Trace
from grader.ground.files import write_atomically
from grader.ground.invocation import command_line
from grader.ground.paths import ROOT
from grader.judge import grade_source, start_sandbox
from grader.judge.focus import choose_focus
from grader.judge.result import Result
from grader.judge.telling import DEFAULT, told
from grader.learner.attempts import all_attempts, progress_of
from grader.report.html_report import result_page
from grader.report.site_pages import Attempt, Card, Link, brief_page, index_page

REPORT = ROOT / "report"
INDEX = "index.html"


def main() -> int:
    """Print one table row per challenge and return the exit status."""
    parser(__doc__).parse_args()
    title = "kvdojo: every challenge's starter and reference"
    table = Table(title=title, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("challenge", "file", "verdict", "cases", "points", "bugs left", "s"):
        table.add_column(name, no_wrap=True)
    good, cards, attempts = True, [], attempts_by_challenge()
    REPORT.mkdir(exist_ok=True)
    for name in challenge_ids():
        challenge = load_challenge(name)
        starter, reference, traces = grade_both(challenge)
        good &= starter.verdict == "failed" and reference.verdict == "passed"
        links = []
        for label, result in (("starter", starter), ("reference", reference)):
            table.add_row(*row(name, label, result))
            links.append(page(challenge, label, result, traces if label == "starter" else {}))
        brief = f"{name}-brief.html"
        write_atomically(REPORT / brief, brief_page(challenge, INDEX))
        cards.append(Card(challenge, brief, links, attempts.get(name, ())))
    begin = command_line("start", "multi_head_attention")
    write_atomically(REPORT / INDEX, index_page(cards, begin))
    Console().print(table)
    print(f"The same as pages: {REPORT.name}/{INDEX}")
    print(f"Begin with: {begin}" if good else "NOT as it must be")
    return 0 if good else 1


def grade_both(challenge: Challenge) -> tuple[Result, Result, dict[str, Trace]]:
    """Grade the starter and the reference in one warm sandbox, and trace what fails in the starter."""
    text = challenge.starter.read_bytes()
    with start_sandbox(challenge) as sandbox:
        starter = grade_source(challenge, text, sandbox=sandbox)
        reference = grade_source(challenge, challenge.reference.read_bytes(), sandbox=sandbox)
        focus = choose_focus(challenge, starter, challenge.presets["default"].bugs)
        shown = told(starter, DEFAULT, challenge)
        traces = trace_failed_cases(sandbox, challenge, shown, text, focus, whole=True)
        return starter, reference, traces


def attempts_by_challenge() -> dict[str, list[Attempt]]:
    """Return how far this person's attempts have come."""
    found: dict[str, list[Attempt]] = {}
    for work in all_attempts():
        progress = progress_of(work)
        if progress.verdict is None:
            continue
        parts = [f"{progress.passed} of {progress.cases} cases"]
        if progress.planted:
            parts.insert(0, f"{progress.mended} of {progress.planted} bugs mended")
        text = f"{work.folder.name}: {', '.join(parts)}"
        found.setdefault(work.challenge, []).append(Attempt(text, progress.verdict == "passed"))
    return found


def page(challenge: Challenge, label: str, result: Result, traces: Mapping[str, Trace]) -> Link:
    """Write the page of one result and return its line in the index."""
    path = challenge.starter if label == "starter" else challenge.reference
    href = f"{challenge.id}-{label}.html"
    planted = challenge.presets["default"].bugs if label == "starter" else ()
    text = result_page(
        challenge,
        result,
        path.read_text("utf-8"),
        level=DEFAULT,
        focus=choose_focus(challenge, result, planted) if result.verdict == "failed" else None,
        traces=traces,
        planted=planted or None,
        command=command_line("grade", challenge.id),
        index=INDEX,
    )
    write_atomically(REPORT / href, text)
    return Link(href, label, result)


def row(name: str, label: str, result: Result) -> list[str]:
    """One line of the table."""
    passed = sum(case.status == "passed" for case in result.cases)
    present = sum(bug.status == "present" for bug in result.bugs)
    bugs = f"{present}/{len(result.bugs)}"
    score = f"{result.score}/{result.max_score}"
    return [
        name,
        label,
        result.verdict,
        f"{passed}/{len(result.cases)}",
        score,
        bugs,
        f"{result.seconds:.2f}",
    ]


if __name__ == "__main__":
    began = time.monotonic()
    status = main()
    print(f"{time.monotonic() - began:.1f} s")
    sys.exit(status)
