"""Run cases and judge the answers.  Knows nothing of processes; learner code never runs here."""

from grader.ground.errors import GraderError
from grader.judge.grade_file import Unreadable, grade_source
from grader.judge.sandbox_start import start_sandbox

__all__ = ["GraderError", "Unreadable", "grade_source", "start_sandbox"]
