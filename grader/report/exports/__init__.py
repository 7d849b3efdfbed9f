"""Results for other systems: one module per format, each a function from graded files to a text.

They know the result document and nothing of how it came about; a format's own words are in its module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module

from grader.report.exports.result_files import Graded

Render = Callable[[Iterable[Graded]], str]


@dataclass(frozen=True)
class Format:
    """Where a format is written, and whether one document holds a whole class."""

    module: str
    suffix: str
    many: bool
    title: str

    def render(self, graded: Iterable[Graded]) -> str:
        """Return the document; of one file only, unless the format holds many."""
        render: Render = import_module(f"grader.report.exports.{self.module}").render
        return render(graded)


FORMATS = {
    "gradescope": Format("gradescope", ".json", False, "Gradescope results.json"),
    "classroom50": Format("classroom50", ".json", False, "Classroom 50 result/v1"),
    "junit": Format("junit", ".xml", True, "JUnit XML"),
    "exercism": Format("exercism", ".json", False, "Exercism results.json, version 3"),
    "check50": Format("check50", ".json", False, "check50 JSON"),
    "prairielearn": Format("prairielearn", ".json", False, "PrairieLearn results.json"),
    "github": Format("github", ".txt", True, "GitHub Actions annotations and step summary"),
    "csv": Format("gradebook_csv", ".csv", True, "one row per file, for a gradebook"),
}
