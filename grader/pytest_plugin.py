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
    from grader.judge.result import CaseResult


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--kvdojo`."""
    parser.getgroup("kvdojo").addoption(
        "--kvdojo",
        metavar="CHALLENGE",
        help="grade the files named on the command line; each case of CHALLENGE is a test",
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
            cases = load_challenge(self.config.getoption("kvdojo")).cases
        except ContentError as error:
            raise self.CollectError(str(error)) from None
        for case in cases.values():
            item = CaseItem.from_parent(self, name=case.id)
            item.title = case.title
            item.add_marker(case.kind)
            yield item

    def result(self, name: str) -> CaseResult:
        """Return the verdict on one case."""
        if self._results is None:
            wanted = [item.name for item in self.session.items if item.parent is self]
            self._results = grade_cases(self.config.getoption("kvdojo"), self.path, wanted)
        return self._results[name]


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

    def setup(self) -> None:
        """Grade the file if that has not happened; what is our fault is an error and not a failure."""
        assert isinstance(self.parent, Submission), "only submissions have cases"
        self.case = self.parent.result(self.name)
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
        from grader.report.phrases import lesson

        pytest.fail(lesson(redacted(self.case)), pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Head the report with the case's title."""
        return self.path, None, f"{self.name}: {self.title}"
