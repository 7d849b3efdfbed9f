"""GitHub Actions: workflow commands that become annotations, and a Markdown step summary.

The runner shows ten annotations of a kind and step; all cases stand in the summary. What could not
be judged is a warning, never an error of the learner's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from grader.judge.result import CaseResult, most_informative_first
from grader.report.exports.export_phrases import counts, lesson, name, rationale, summary, title
from grader.report.exports.result_files import Exported

MOST = 10
LARGEST = 1000 << 10  # bytes of a summary; the runner refuses more than 1024 KiB
ESCAPES = str.maketrans({char: f"&#{ord(char)};" for char in "&<>\"'@#"})
MARKS = {"passed": "✅", "failed": "❌", "error": "⚠️", "skipped": "➖"}


def render(files: Iterable[Exported]) -> str:
    """Return the workflow commands, one a line."""
    return "".join(f"{line}\n" for one in files for line in _commands(one))


def _commands(one: Exported) -> Iterator[str]:
    yield _command("notice" if one.result.judged else "warning", one, "kvdojo", summary(one.result))
    errors = [case for case in most_informative_first(one.result.cases) if case.status == "failed"]
    unjudged = [case for case in one.result.cases if case.status == "error"]
    for level, cases in (("error", errors), ("warning", unjudged)):
        for case in cases[: MOST - 1]:
            yield _command(level, one, title(case), lesson(case))


def _command(level: str, one: Exported, heading: str, text: str) -> str:
    where = f"file={_property(name(one.result.file))},title={_property(heading)}"
    return f"::{level} {where}::{_message(text)}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def step_summary(files: Sequence[Exported]) -> str:
    """Return the summary; HTML tables, in which text of a submission is never read as Markdown."""
    parts: list[str] = []
    size = 0
    for number, one in enumerate(files):
        part = _section(one)
        size += len(part.encode())
        if size > LARGEST:
            parts.append(f"<p>{len(files) - number} more files are left out here.</p>\n")
            break
        parts.append(part)
    return "".join(parts)


def _section(one: Exported) -> str:
    found = counts(one.result)
    marks = f", {one.result.score:g}/{one.result.max_score:g} points" if one.result.judged else ""
    head = f"<h3>{MARKS[one.result.verdict]} {_text(name(one.name))} ({_text(one.result.challenge)}{marks})</h3>"
    rows = "".join(_row(case) for case in one.result.cases)
    open_or_not = " open" if found["failed"] or found["error"] else ""
    table = f"<table><tr><th></th><th>case</th><th>points</th><th>why</th></tr>{rows}</table>"
    cases = (
        f"<details{open_or_not}><summary>{len(one.result.cases)} cases</summary>{table}</details>"
    )
    return f"{head}<p>{_text(summary(one.result))}</p>{cases}\n\n"


def _row(case: CaseResult) -> str:
    points = f"{case.points:g}/{case.max_points:g}"
    cells = (MARKS[case.status], title(case), points, rationale(case))
    return "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>"


def _text(text: str) -> str:
    """Escape for HTML and against mentions and references."""
    return text.translate(ESCAPES)
