"""Results for other systems: one module per format, each a function from graded files to a text.

This table is the only list of the formats.  It imports none of them, so that `kvdojo --help` and shell completion can
read it at no cost; a format's module is imported when it is rendered.

To add a format, write a module with `render(files) -> str` and name it in `FORMATS`; `tests/report/exports` then asks
of it what every format must keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from grader.ground.errors import KvdojoError

if TYPE_CHECKING:
    from grader.report.exports.result_files import Exported


class NotJudged(KvdojoError):
    """A result without a verdict, in a format that cannot carry one: no document is written for that file."""


@dataclass(frozen=True)
class Format:
    """Where a format is written, and how.

    `many`: one document holds a whole class; otherwise there is one per file.  `summary_variable`: the format's text is
    always for standard output, where a runner reads it, and beside it there is a summary (`step_summary` in its module)
    for `--out` or else for the file that the runner names in this environment variable, to whose end it is added.
    `for_learners`: a course system shows it to learners, so it keeps to the level of telling.
    A format that has no word for a file without a verdict raises `NotJudged`.
    """

    module: str
    suffix: str
    many: bool
    title: str
    summary_variable: str | None = None
    for_learners: bool = True

    def render(self, files: Iterable[Exported]) -> str:
        """Return the document; of one file only, unless the format holds many."""
        text: str = self._loaded().render(files)
        return text

    def summary(self, files: Sequence[Exported]) -> str:
        """Return the summary of a format that has one."""
        text: str = self._loaded().step_summary(files)
        return text

    def _loaded(self) -> ModuleType:
        return import_module(f"grader.report.exports.{self.module}")


FORMATS = {
    "gradescope": Format("gradescope", ".json", False, "Gradescope results.json"),
    "classroom50": Format("classroom50", ".json", False, "Classroom 50 result/v1"),
    "junit": Format("junit", ".xml", True, "JUnit XML"),
    "exercism": Format("exercism", ".json", False, "Exercism results.json, version 3"),
    "check50": Format("check50", ".json", False, "check50 JSON"),
    "prairielearn": Format("prairielearn", ".json", False, "PrairieLearn results.json"),
    "github": Format(
        "github",
        ".txt",
        True,
        "GitHub Actions annotations and step summary",
        summary_variable="GITHUB_STEP_SUMMARY",
    ),
    "csv": Format(
        "gradebook_csv", ".csv", True, "one row per file, for a gradebook", for_learners=False
    ),
}
