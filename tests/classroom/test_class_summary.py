"""What is said about a class: counts, spread, cases that separate, files that are alike; safe for its readers."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from grader.classroom import similarity
from grader.classroom.batch_plan import PlannedSubmission
from grader.classroom.class_summary import ClassSummary, SubmissionRow, summarise_class
from grader.classroom.grading_worker import GradingJob, JobAnswer
from grader.classroom.run_batch import BatchOptions, run_batch
from grader.cli.batch_meter import pace
from grader.content.planting import plant
from grader.report.class_report import class_csv, class_page, render, still_wrong
from tests.classroom.conftest import CHALLENGE, Workers, answer

CASES = list(CHALLENGE.cases)
EVIL = '=HYPERLINK("x")<script>alert(1)\x1b[31m'
OWN = """
def helper{n}(first, second):
    total = first
    for step in range(7):
        total = total * {n} + second[step] - first ** 3
    return {{"{n}": total, "other": [total, second, first]}}
"""


@pytest.fixture
def summary(workers: Workers, tmp_path: Path) -> ClassSummary:
    """Twenty learners; the first case goes with strength, the second against it."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(20):
        (folder / f"l{number:02}.py").write_text(f"x = {number}\n")
    (folder / f"{EVIL}.py").write_text("x = 1\n")
    (folder / "broken.zip").write_text("no")

    def judged(job: GradingJob) -> JobAnswer:
        number = int(job.id[1:]) if job.id[1:].isdigit() else 0
        document = answer(job, "failed").document
        assert document is not None
        for at, case in enumerate(document["cases"]):
            good = {0: number >= 10, 1: number < 10}.get(at, (at * 7) % 20 < number)
            case["status"] = "passed" if good else "failed"
            case["points"] = case["max_points"] if good else 0
        document["score"] = sum(case["points"] for case in document["cases"])
        bug = next(iter(CHALLENGE.bugs.values()))
        state = "fixed" if number % 2 else "present"
        document["bugs"] = [{"id": bug.id, "title": bug.title, "status": state}]
        return replace(answer(job), document=document)

    workers.judge = judged
    plan, store = run_batch(BatchOptions(CHALLENGE, folder, workers.out), pool_opener=workers.open)
    return summarise_class(CHALLENGE, plan, store)


def test_cases_are_ordered_by_how_they_separate(summary: ClassSummary) -> None:
    found = {line.id: line.separates for line in summary.cases}
    first, second = found[CASES[0]], found[CASES[1]]
    assert first is not None
    assert first > 0.7
    assert second is not None
    assert second < -0.7
    known = [line.separates for line in summary.cases if line.separates is not None]
    assert known == sorted(known, reverse=True)


def test_scores_and_bugs_are_counted(summary: ClassSummary) -> None:
    assert summary.counts == {"failed": 21, "error": 1}
    assert sum(summary.bins) == 21
    bug = next(line for line in summary.bugs if line.id == next(iter(CHALLENGE.bugs)))
    assert (bug.fixed, bug.present) == (10, 11)


def test_the_table_is_safe_for_a_spreadsheet(summary: ClassSummary) -> None:
    rows = list(csv.DictReader(io.StringIO(class_csv(summary).removeprefix("\ufeff"))))
    assert len(rows) == 22
    assert all(not cell.startswith(("=", "+", "@", "\t")) for row in rows for cell in row.values())
    evil = next(row for row in rows if "HYPERLINK" in row["learner"])
    assert evil["learner"].startswith("'=")
    assert "\x1b" not in class_csv(summary)
    broken = next(row for row in rows if row["learner"] == "broken")
    assert broken["state"] == "error"
    assert broken["score"] == ""
    assert "damaged" in broken["why"]


def test_the_page_has_no_script_and_escapes_names(summary: ClassSummary) -> None:
    page = class_page(summary)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert page == class_page(summary)
    assert all(f'id="{anchor}"' in page for anchor in re.findall(r'href="#(\w+)"', page))


def test_the_terminal_shows_the_class(summary: ClassSummary) -> None:
    stream = io.StringIO()
    render(summary, Console(file=stream, width=100, markup=False))
    text = stream.getvalue()
    assert "22 submissions: 21 failed, 1 could not be judged" in text
    assert "\x1b" not in text
    assert "broken: the archive is damaged" in text


def test_copies_are_found_under_new_names_comments_and_order() -> None:
    base = plant(CHALLENGE, ["merge-heads"] if "merge-heads" in CHALLENGE.bugs else [])
    mine = base + OWN.format(n=5) + "\nVALUE = [a ** 2 for a in range(9) if a % 2]\n"
    sources = {"copied": mine}
    sources["copier"] = "# all my own work\n" + mine.replace("total", "acc").replace("first", "q")
    sources["alone"] = base + "\n".join(f"v{n} = sorted([{n}, {n * n}])[{n}:]" for n in range(9))
    sources["starter"] = CHALLENGE.starter.read_text()
    sources["starter too"] = CHALLENGE.starter.read_text()
    sources["reference"] = CHALLENGE.reference_text
    sources["reference too"] = CHALLENGE.reference_text
    found = similarity.similar_groups(CHALLENGE, sources, lambda name: sources[name].encode())
    assert [group.ids for group in found] == [("copied", "copier")]
    assert found[0].likeness > 0.95


@pytest.mark.parametrize(
    "source", [b"", b"\xff\xfe\0", b"'''", b"(" * 5000, b"\0", b"  x\n y\n", b"# coding: no\nx = 1"]
)
def test_files_that_are_not_python_have_some_tokens_or_none(source: bytes) -> None:
    assert isinstance(similarity.tokens(source), list)


def test_a_large_ring_of_copies_is_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "MOST_SHARED", 5)
    body = CHALLENGE.reference_text + OWN.format(n=3)
    sources: dict[str, Any] = {f"r{n:03}": body for n in range(8)}
    sources |= {f"o{n:03}": CHALLENGE.reference_text for n in range(40)}
    read: Callable[[str], bytes] = lambda name: sources[name].encode()  # noqa: E731
    (group,) = similarity.similar_groups(CHALLENGE, sources, read)
    assert len(group.ids) == 8


def test_rate_and_remaining_time_are_shown() -> None:
    assert pace(deque([10.0]), 5) == "starting"
    assert pace(deque([10.0, 10.5, 11.0]), 240) == "2.0/s, 2:00 left"
    assert pace(deque([0.0, 10.0]), 1000) == "0.1/s, 2:46:40 left"


@pytest.mark.parametrize(
    ("state", "bugs", "shown"),
    [
        ("failed", ("present", "fixed", "unknown"), "1"),
        ("failed", ("changed", "fixed"), "1"),
        ("failed", ("unknown", "unknown"), "unclear"),
        ("passed", ("unknown", "unknown"), "0"),
        ("error", (), "-"),
    ],
)
def test_unknown_bugs_are_not_counted_as_none(
    state: str, bugs: tuple[str, ...], shown: str
) -> None:
    entry = PlannedSubmission("ada", "", "", "", "f.py", "")
    assert still_wrong(SubmissionRow(entry, state, 0, 80, 0.1, "", (), bugs)) == shown
