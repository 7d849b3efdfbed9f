"""Write the page of a grading: `grade --html`."""

from __future__ import annotations

from pathlib import Path

from grader.cli import terminal
from grader.cli.variant import Variant
from grader.content import Challenge
from grader.diagnose.explain_failures import trace_failed_cases
from grader.diagnose.trace_model import Trace
from grader.judge import start_sandbox
from grader.judge.result import Result
from grader.report.html_report import result_page
from grader.sandbox import Sandbox, SandboxError


def write_page(
    challenge: Challenge,
    result: Result,
    source: bytes,
    page: Path,
    *,
    planted: Variant | None,
    isolate: bool = True,
    sandbox: Sandbox | None = None,
) -> None:
    """Write the page to `page`; `planted` is what the file came with, where that is known.

    `sandbox` is one that is warm already, if there is one.
    """
    text = result_page(
        challenge,
        result,
        source.decode("utf-8", "replace"),
        traces=_traces(challenge, result, source, sandbox, isolate=isolate),
        planted=planted.bugs if planted else None,
        decoys=planted.decoys if planted else (),
        starter=planted.source(challenge) if planted else None,
    )
    terminal.write_file(page, text)


def _traces(
    challenge: Challenge, result: Result, source: bytes, sandbox: Sandbox | None, *, isolate: bool
) -> dict[str, Trace]:
    """Trace what failed; a page without pictures is better than none."""
    if result.verdict != "failed":
        return {}
    if sandbox is not None:
        return trace_failed_cases(sandbox, challenge, result, source)
    try:
        with start_sandbox(challenge, isolate=isolate, source=source) as box:
            box.ready()
            return trace_failed_cases(box, challenge, result, source)
    except SandboxError:
        return {}
