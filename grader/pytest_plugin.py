"""`pytest --kvdojo CHALLENGE FILE`: each case as a test of FILE.

FILE is graded in the sandbox; pytest never imports it. Loaded in every run of pytest in this
environment, so that nothing of the grader is imported before the option is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from grader.content import Case, Challenge
    from grader.judge.result import CaseResult


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--kvdojo`."""
    parser.getgroup("kvdojo").addoption(
        "--kvdojo",
        metavar="CHALLENGE",
        help="grade the files named on the command line; each case of CHALLENGE is a test",
    )
    parser.getgroup("kvdojo").addoption(
        "--kvdojo-tell",
        metavar="LEVEL",
        choices=("verdict", "symptom", "place", "pattern", "cause"),
        help="how much is told of a case that fails, as by `grade --tell`; unit cases go by number below `cause`",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let `-m unit` and `-m scenario` choose cases."""
    config.addinivalue_line("markers", "unit: a case that isolates one method (kvdojo)")
    config.addinivalue_line("markers", "scenario: a case of the whole file (kvdojo)")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    """Stand in for the module that pytest would import."""
    challenge = parent.config.getoption("kvdojo")
    if not challenge or not parent.session.isinitpath(module_path):
        return None
    return Submission.from_parent(parent, path=module_path)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Any:
    """Take a file by any other name too."""
    challenge = parent.config.getoption("kvdojo")
    if not challenge or file_path.suffix == ".py" or not parent.session.isinitpath(file_path):
        return None
    return Submission.from_parent(parent, path=file_path)


class Submission(pytest.File):
    """A file and the cases it is graded by; all that were selected are graded at the first one's turn."""

    _results: dict[str, CaseResult] | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """Yield an item per case, in the order of the challenge."""
        from grader.content import ContentError, load_challenge

        try:
            challenge = load_challenge(self.config.getoption("kvdojo"))
            cases = challenge.cases
        except ContentError as error:
            raise self.CollectError(str(error)) from None
        level = level_told(self.config, challenge)
        units = 0
        for case in cases.values():
            units += case.kind == "unit"
            name, title = shown_as(case, units, level)
            item = CaseItem.from_parent(self, name=name)
            item.case_id, item.title, item.level = case.id, title, level
            item.add_marker(case.kind)
            yield item

    def result(self, name: str) -> CaseResult:
        """Return the verdict on one case."""
        if self._results is None:
            items = (item for item in self.session.items if item.parent is self)
            wanted = [item.case_id for item in items if isinstance(item, CaseItem)]
            self._results = grade_cases(self.config.getoption("kvdojo"), self.path, wanted)
        return self._results[name]


def shown_as(case: Case, number: int, level: str) -> tuple[str, str]:
    """Return the name and the title under which a case is a test."""
    from grader.judge.telling import names_units, shown_name, shown_title

    if case.kind != "unit" or names_units(level):
        return case.id, case.title
    return shown_name(number), shown_title(number)


def level_told(config: pytest.Config, challenge: Challenge) -> str:
    """Return how much is told: what was asked for, and no more than the challenge allows."""
    from grader.judge.telling import DEFAULT, at_most

    return at_most(config.getoption("kvdojo_tell") or DEFAULT, challenge.tell)


def grade_cases(challenge: str, path: Path, cases: list[str]) -> dict[str, CaseResult]:
    """Grade a file by these cases, and return their results by id; ends the run of pytest where that cannot be done."""
    from grader.cli.submission import read
    from grader.ground.errors import KvdojoError
    from grader.judge import grade_source

    try:
        source = read(path, challenge)
        result = grade_source(challenge, source, filename=path.name, cases=cases)
    except KvdojoError as error:
        # exit at once: pytest would repeat the error for every case
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
    return {case.id: case for case in result.cases}


class CaseItem(pytest.Item):
    """One case as a test."""

    title = ""
    case_id = ""
    level = ""

    def setup(self) -> None:
        """Grade the file if that has not happened; what is our fault is an error and not a failure."""
        assert isinstance(self.parent, Submission), "only submissions have cases"
        self.case = self.parent.result(self.case_id)
        self.user_properties += [
            ("score", self.case.points),
            ("max_score", self.case.max_points),
        ]
        if self.case.status == "error":
            self._fail()
        if self.case.status == "skipped" and self.case.cause:
            pytest.skip(self.case.cause.rationale)

    def runtest(self) -> None:
        """Fail unless the case passed."""
        if self.case.status != "passed":
            self._fail()

    def _fail(self) -> None:
        """Tell why in a few lines, instead of a traceback."""
        from grader.judge.result import redacted
        from grader.judge.telling import told_case
        from grader.report.phrases import lesson

        pytest.fail(lesson(redacted(told_case(self.case, self.level))), pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Head the report with the case's title."""
        return self.path, None, f"{self.name}: {self.title}"
