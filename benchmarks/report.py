"""What a page costs: `python -m benchmarks.report [CHALLENGE]`, the starter's page with its traces."""

from __future__ import annotations

import os
import sys
import time
from itertools import pairwise

from benchmarks.options import add_challenge, parser
from grader.content import load_challenge
from grader.diagnose.explain_failures import trace_failed_cases
from grader.judge import grade_source, start_sandbox
from grader.report.html_report import result_page


def main() -> int:
    """Print seconds and bytes, side by side with the grading itself."""
    options = parser(__doc__)
    add_challenge(options)
    challenge = load_challenge(options.parse_args().challenge)
    source = challenge.starter.read_bytes()
    with start_sandbox(challenge) as sandbox:
        grade_source(challenge, source, sandbox=sandbox)
        marks = [time.perf_counter()]
        result = grade_source(challenge, source, sandbox=sandbox)
        marks.append(time.perf_counter())
        traces = trace_failed_cases(sandbox, challenge, result, source)
        marks.append(time.perf_counter())
        page = result_page(challenge, result, source.decode(), traces=traces)
        marks.append(time.perf_counter())
    grading, tracing, writing = (later - sooner for sooner, later in pairwise(marks))
    print(f"{challenge.id}: {len(page.encode()) / 1000:.0f} kB, {len(traces)} cases traced")
    print(f"grading {grading:.2f} s, tracing {tracing:.2f} s, writing the page {writing:.2f} s")
    print(
        f"tracing and writing are {(tracing + writing) / grading:.1f} gradings; load {os.getloadavg()[0]:.1f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
